/** `runner list [plugin]`: the plugins and their keys, from their schemas. */
import { type Command, Option } from 'commander'
import { EXIT } from '../kit/exit-codes.ts'
import type { Plugin } from '../contract/plugin.ts'
import { code, describeKeys, firstSentence } from '../config/describe.ts'
import { loadPluginList } from '../config/load.ts'
import { type Kind, KINDS } from '../config/registry.ts'
import { collectDistinct } from './options.ts'
import { paint, print, printJson, quiet, usageError, widthOf } from './output.ts'
import { reportProblems } from './load.ts'
import type { Schema } from '../config/schema.ts'
import { wrap as wrapped } from '../kit/text/columns.ts'
import { suggest } from '../kit/text/suggest.ts'

export function register(program: Command): void {
  program
    .command('list')
    .description('list plugins, or show the keys of a plugin')
    .argument('[plugin]', 'name of a plugin, e.g. kafka or bars')
    .addOption(new Option('--kind <kind>', 'only plugins of this kind').choices(KINDS))
    .option('--plugins <file>', 'file or package with your own plugins; repeatable', collectDistinct)
    .option('--json', 'print JSON with the schemas')
    .addHelpText(
      'after',
      '\nExamples:\n  $ runner list\n  $ runner list kafka --kind sink\n  $ runner list discount --plugins ./discount.ts',
    )
    .action(async (plugin: string | undefined, flags: ListFlags) => {
      process.exitCode = await list(plugin, flags)
    })
}

interface ListFlags {
  readonly kind?: string
  readonly plugins?: string[]
  readonly json?: boolean
}

async function list(name: string | undefined, flags: ListFlags): Promise<number> {
  const { registry, problems } = await loadPluginList(flags.plugins ?? [], '--plugins')
  if (problems.length > 0) return reportProblems(problems)
  const kinds = KINDS.filter(k => flags.kind === undefined || flags.kind === k)
  const all = kinds.flatMap(kind => registry.names(kind).map(type => ({ kind, type })))
  const wanted = name === undefined ? all : all.filter(p => p.type === name)
  if (wanted.length === 0) {
    const near = suggest(
      name ?? '',
      all.map(p => p.type),
    )
    return usageError(`there is no ${flags.kind ?? 'plugin'} ${name}${near ? `; did you mean ${near}?` : ''}`)
  }
  const plugins = await Promise.all(wanted.map(p => registry.load(p.kind, p.type) as Promise<Plugin>))
  if (flags.json) printJson(plugins.map(describe))
  else print(name === undefined ? overview(plugins) : plugins.map(details).join('\n'))
  return EXIT.ok
}

const schemaOf = (p: Plugin): Schema => p.schema as Schema
const describe = (p: Plugin): object => ({ kind: p.kind, type: p.type, description: schemaOf(p).description ?? '', schema: p.schema })

function overview(plugins: readonly Plugin[]): string {
  const width = Math.max(...plugins.map(p => p.type.length))
  const section = (kind: Kind): string => {
    const rows = plugins.filter(p => p.kind === kind).map(p => row(p.type, firstSentence(schemaOf(p).description ?? ''), width))
    return rows.length > 0 ? `${paint('bold', `${kind}s`)}\n${rows.join('')}\n` : ''
  }
  return `${KINDS.map(section).join('')}${quiet() ? '' : 'runner list PLUGIN shows its keys.\n'}`
}

function row(type: string, text: string, width: number): string {
  const columns = widthOf()
  const lines = columns === undefined ? [text] : wrapped(text, Math.max(20, columns - width - 4))
  return lines.map((line, i) => `  ${i === 0 ? paint('accent', type.padEnd(width)) : ' '.repeat(width)}  ${line}\n`).join('')
}

function details(p: Plugin): string {
  const schema = schemaOf(p)
  const short = schema.shorthand ? `\nShort form: - ${p.type}: <${schema.shorthand}>\n` : ''
  const keys = describeKeys(schema).map(k => {
    const fallback = k.required ? ', required' : k.default === undefined ? '' : `, default ${plain(code(k.default))}`
    return `  ${paint('accent', k.key)} (${plain(k.type)}${fallback})\n${wrap(plain(k.text), 6)}`
  })
  return `${paint('bold', `${p.type} (${p.kind})`)}\n${wrap(plain(schema.description ?? ''), 2)}${short}\n${keys.join('')}`
}

const plain = (text: string): string => text.replaceAll('`', '')

const wrap = (text: string, indent: number): string =>
  wrapped(text, Math.min(widthOf() ?? 100, 110) - indent)
    .map(line => `${' '.repeat(indent)}${line}\n`)
    .join('')
