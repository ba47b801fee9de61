/** Loads a test file: parses it, checks its schema and converts it for the engine. Problems have positions, as for pipeline files. */
import { readRegular } from '../kit/read-regular.ts'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { diagnose } from '../config/diagnose.ts'
import type { Problem } from '../config/model.ts'
import { isText, type PipelineInput } from '../config/load.ts'
import { parseObject } from '../config/object.ts'
import { parseText } from '../config/parse.ts'
import { Problems } from '../config/problems.ts'
import type { Schema } from '../config/schema.ts'
import { OBJECT, SourceText, type TreeNode, toValue } from '../config/tree.ts'
import schema from '../../schemas/test.schema.json' with { type: 'json' }
import type { TestFile } from './model.ts'
import { readTests } from './read.ts'
import { TestSource } from './source.ts'

export interface LoadedTests {
  /** Undefined if there are problems. */
  readonly tests: TestFile | undefined
  readonly problems: readonly Problem[]
  /** For the positions of problems found later, against the pipeline. */
  readonly source: TestSource
}

export const TEST_FILE = /\.test\.ya?ml$/

/** `pipelines/bars.test.yaml` tests `pipelines/bars.yaml`. */
export const pipelineOf = (file: string): string => file.replace(TEST_FILE, match => (match.endsWith('.yml') ? '.yml' : '.yaml'))

export interface LoadTestsOptions {
  /** For a text or an object: base folder of relative paths. Default: the working directory. */
  readonly base?: string
  /** The caller has the pipeline, so the tests need no pipeline file. */
  readonly pipelineGiven?: boolean
  /** The text of a file that an editor has not saved, by absolute path. */
  readonly unsaved?: (path: string) => string | undefined
}

/** @param input the path or URL of a test file, its YAML text, or the parsed file as plain data */
export async function loadTests(input: PipelineInput, options: LoadTestsOptions = {}): Promise<LoadedTests> {
  const problems = new Problems()
  const { text, root, base, isFile } = read(input, options, problems)
  const source = new TestSource(text, root, base)
  if (!root || !problems.empty) return { tests: undefined, problems: problems.list(), source }

  for (const j of await diagnose(toValue(root), schema as unknown as Schema)) {
    const span = j.on === 'parent' ? source.span(j.path.slice(0, -1), 'key') : source.span(j.path, j.on)
    problems.add(j.code, span, j.path, j.message, j.suggestion)
  }
  if (!isFile && !options.pipelineGiven && source.node(['pipeline']) === undefined)
    problems.add(
      'CONFIG_MISSING_KEY',
      source.span([]),
      [],
      'the key pipeline is missing: tests that are not in a file must name their pipeline file',
    )
  if (!problems.empty) return { tests: undefined, problems: problems.list(), source }
  const tests = readTests(source, join(base, pipelineName(text.file, root)), problems)
  return { tests: problems.empty ? tests : undefined, problems: problems.list(), source }
}

interface Read {
  readonly text: SourceText
  /** Undefined: unreadable; the problems have the reason. */
  readonly root: TreeNode | undefined
  readonly base: string
  readonly isFile: boolean
}

function read(input: PipelineInput, { base = process.cwd(), unsaved }: LoadTestsOptions, problems: Problems): Read {
  if (typeof input === 'object' && !(input instanceof URL)) {
    const parsed = parseObject(input, problems)
    return { text: parsed?.source ?? new SourceText(OBJECT, ''), root: parsed?.root, base, isFile: false }
  }
  const given = typeof input === 'string' && isText(input)
  const file = given ? '(text)' : input instanceof URL ? fileURLToPath(input) : (input as string)
  const content = given ? (input as string) : (unsaved?.(resolve(file)) ?? readText(file))
  const text = new SourceText(file, typeof content === 'string' ? content : '')
  const nothing = { source: text, start: 0, end: 0 }
  if (typeof content !== 'string') problems.add('CONFIG_READ', nothing, [], `${file} cannot be read: ${content.message}`)
  else if (/^(\s*(#[^\n]*)?(\n|$))*$/.test(content))
    problems.add('CONFIG_EMPTY', nothing, [], 'the file is empty: a test file needs at least tests')
  return { text, root: problems.empty ? parseText(text, problems) : undefined, base: given ? base : dirname(file), isFile: !given }
}

function pipelineName(file: string, root: TreeNode): string {
  const named = root.kind === 'map' ? root.entries.get('pipeline') : undefined
  return named ? String(toValue(named.value)) : pipelineOf(file).slice(dirname(file) === '.' ? 0 : dirname(file).length + 1)
}

function readText(file: string): string | Error {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readRegular(file))
  } catch (error) {
    return error as Error
  }
}
