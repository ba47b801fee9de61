/** `runner validate FILE|DIR|GLOB...`: reports all problems of all files at once. Needs no network. */
import { readFile, stat } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { EXIT } from '../kit/exit-codes.ts'
import { colors, outcomeLine, print, quiet, widthOf } from './output.ts'
import { NO_FILES } from '../config/env.ts'
import { type LoadOptions, loadPipeline } from '../config/load.ts'
import type { Pipeline, Problem } from '../config/model.ts'
import { setOption } from './options.ts'
import { findFiles, isCatalogText } from './validate/files.ts'

const FORMATS = ['text', 'json', 'sarif', 'github'] as const
type Format = (typeof FORMATS)[number]

export interface FileResult {
  readonly file: string
  readonly ok: boolean
  readonly problems: readonly Problem[]
}

export function register(program: Command): void {
  program
    .command('validate')
    .description('validate pipeline files and topic catalogs')
    .argument('<path...>', 'files, folders (all .yaml and .yml in them) or globs')
    .addOption(new Option('--format <format>', 'output format').choices(FORMATS).default('text'))
    .addOption(setOption('override a value, e.g. sinks[0].kafka.topic=bars.test'))
    .option('--strict', 'treat warnings as errors')
    .option('--no-plugins', 'for untrusted files: load no plugins, read no ${file:}')
    .option('-q, --quiet', 'text: print only files with problems')
    .addHelpText(
      'after',
      '\nExit codes: 0 valid (warnings are allowed without --strict), 2 problems found, 3 a path cannot be read.\n\nExample:\n  $ runner validate pipelines/ --format github',
    )
    .action(async (paths: string[], flags: ValidateFlags) => {
      process.exitCode = await validate(paths, flags)
    })
}

export interface ValidateFlags {
  readonly format: Format
  readonly set?: readonly string[]
  readonly strict?: boolean
  readonly quiet?: boolean
  /** False: loads neither code nor other files that the file names. */
  readonly plugins?: boolean
}

/** @returns the exit code. */
export async function validate(paths: readonly string[], flags: ValidateFlags): Promise<number> {
  const files = await findFiles(paths)
  // Sequential: each file is quick, and memory use is that of one file.
  const results: FileResult[] = []
  const pipelines: Pipeline[] = []
  for (const file of files) results.push(await validateFile(file, flags, pipeline => pipelines.push(pipeline)))
  const shared = pipelines.length > 1 ? (await import('./validate/same-names.ts')).sameNames(pipelines) : []
  for (const problem of shared) {
    const i = results.findIndex(r => r.file === problem.file)
    const { file, ok, problems } = results[i]
    results[i] = { file, ok: ok && flags.strict !== true, problems: [...problems, problem] }
  }
  print(await render(results, flags))
  if (results.some(r => r.problems.some(p => p.code === 'CONFIG_READ'))) return EXIT.environment
  return results.every(r => r.ok) ? EXIT.ok : EXIT.config
}

async function validateFile(
  file: string,
  { set, strict, plugins }: ValidateFlags,
  found: (pipeline: Pipeline) => void,
): Promise<FileResult> {
  const env = plugins === false ? { ...process.env, [NO_FILES]: true as const } : process.env
  const options: LoadOptions = { env, noPlugins: plugins === false, samples: plugins !== false }
  const isTest = /\.test\.ya?ml$/.test(file)
  const { problems } = isTest
    ? await (await import('./validate/test-file.ts')).validateTestFile(file, options)
    : (await isCatalog(file))
      ? await (await import('../operations/catalog.ts')).loadCatalog(file, env)
      : await load(file, { ...options, set }, found)
  return { file, ok: !problems.some(p => strict === true || p.severity === 'error'), problems }
}

async function load(file: string, options: LoadOptions, found: (pipeline: Pipeline) => void): ReturnType<typeof loadPipeline> {
  const loaded = await loadPipeline(file, options)
  if (loaded.pipeline) found(loaded.pipeline)
  return loaded
}

/** Topic catalogs are checked, too. For unreadable files, the loader reports the reason. */
async function isCatalog(file: string): Promise<boolean> {
  const isFile = await stat(file).then(
    s => s.isFile() && s.size < 4_000_000,
    () => false,
  )
  const text = isFile ? await readFile(file, 'utf8').catch(() => '') : ''
  return isCatalogText(text)
}

/** Programs look up places in the file: a problem of a `--set` is placed at the beginning of the file, and its message names the `--set`. */
function inFile(result: FileResult): FileResult {
  const problems = result.problems.map(p =>
    p.file !== '--set'
      ? p
      : { ...p, file: result.file, line: 1, column: 1, endLine: 1, endColumn: 2, message: `${p.file}: ${p.message}`, fix: undefined },
  )
  return { ...result, problems }
}

async function render(results: readonly FileResult[], flags: ValidateFlags): Promise<string> {
  if (flags.format === 'json') return (await import('./validate/json.ts')).formatJson(results.map(inFile))
  if (flags.format === 'sarif') return (await import('./validate/sarif.ts')).formatSarif(results.map(inFile))
  if (flags.format === 'github') return (await import('./validate/github.ts')).formatGithub(results.map(inFile))
  const { formatText } = await import('../config/format.ts')
  const text = formatText(
    results.flatMap(r => r.problems),
    { color: colors(process.stdout), width: widthOf() },
  )
  const bad = results.filter(r => !r.ok).length
  const count = results.reduce((n, r) => n + (r.ok ? 0 : r.problems.length), 0)
  const fine = quiet()
    ? ''
    : results
        .filter(r => r.ok)
        .map(r => outcomeLine('ok', `${r.file}${warnings(r.problems.length)}`))
        .join('')
  const verdict =
    bad === 0 ? '' : `${count} problem${count === 1 ? '' : 's'} in ${bad} of ${results.length} file${results.length === 1 ? '' : 's'}\n`
  return text + (text && (fine || verdict) ? '\n' : '') + fine + verdict
}

const warnings = (count: number): string => (count === 0 ? '' : `: ${count} warning${count === 1 ? '' : 's'}`)
