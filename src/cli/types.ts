/** `runner types FILE`: prints what is known of the records on each edge of a pipeline. */
import type { Command } from 'commander'
import { EXIT } from '../kit/exit-codes.ts'
import { suggest } from '../kit/text/suggest.ts'
import type { Edge, Flow } from '../config/flow/flow.ts'
import { schemaOfType } from '../config/flow/json-schema.ts'
import { typescriptOf } from '../config/flow/typescript.ts'
import { loadPipeline } from '../config/load.ts'
import type { Pipeline } from '../config/model.ts'
import { unionOf } from '../expressions/record-type.ts'
import { reportProblems } from './load.ts'
import { setOption } from './options.ts'
import { print, printError } from './output.ts'

interface Flags {
  readonly set?: readonly string[]
  readonly at?: string
  readonly ts?: boolean
  readonly jsonSchema?: boolean
  readonly json?: boolean
}

export function register(program: Command): void {
  program
    .command('types')
    .description('print the fields of the records between the steps')
    .argument('<file>', 'a pipeline file')
    .option('--at <name>', 'only the records that arrive at this step, or at the sink of this topic')
    .option('--ts', 'as TypeScript types')
    .option('--json-schema', 'as JSON Schemas')
    .option('--json', 'all edges with their JSON Schemas, for programs')
    .addOption(setOption('override a value, e.g. sinks[0].kafka.topic=bars.test'))
    .addHelpText(
      'after',
      '\nExit codes: 0 printed, 2 the file has problems or no such step, 3 the file cannot be read.\n\nExamples:\n  $ runner types bars.yaml\n  $ runner types bars.yaml --at bars.BTCUSDT.1m --ts > bar.ts',
    )
    .action(async (file: string, flags: Flags) => {
      process.exitCode = await types(file, flags)
    })
}

/** @returns the exit code. Types are also printed for a file with problems, as far as they are known. */
export async function types(file: string, flags: Flags): Promise<number> {
  let flow: Flow | undefined
  const { pipeline, problems } = await loadPipeline(file, { set: flags.set, samples: true, onFlow: found => (flow = found) })
  const code = problems.some(p => p.severity === 'error') ? await reportProblems(problems) : EXIT.ok
  if (!flow) return code
  const to = flags.at === undefined ? undefined : stepOf(flags.at, flow, pipeline)
  const edges = to === undefined ? flow.edges : flow.edges.filter(edge => edge.to === to)
  if (flags.at !== undefined && edges.length === 0) {
    const near = suggest(
      flags.at,
      flow.edges.map(edge => edge.to),
    )
    printError(`${file} has no step or topic ${flags.at}${near === undefined ? '' : `; did you mean ${near}?`}`)
    return EXIT.config
  }
  print(render(edges, flags))
  return code
}

/** The name of a step, or that of the sink that writes to a topic. */
function stepOf(at: string, { edges }: Flow, pipeline: Pipeline | undefined): string {
  if (edges.some(edge => edge.to === at)) return at
  return pipeline?.sinks.find(s => [s.config?.topic, s.config?.channel, s.config?.stream].includes(at))?.name ?? at
}

function render(edges: readonly Edge[], flags: Flags): string {
  if (flags.json) {
    const all = edges.map(({ from, to, type }) => ({ from, to, schema: schemaOfType(type) }))
    return `${JSON.stringify({ edges: all }, null, 2)}\n`
  }
  if (flags.jsonSchema) {
    const draft = { $schema: 'http://json-schema.org/draft-07/schema#' }
    // Of several edges to one step, the records of all of them.
    if (flags.at !== undefined) return `${JSON.stringify({ ...draft, ...schemaOfType(unionOf(edges.map(e => e.type))) }, null, 2)}\n`
    const definitions = Object.fromEntries(edges.map(e => [typeName(e), schemaOfType(e.type)]))
    return `${JSON.stringify({ ...draft, definitions }, null, 2)}\n`
  }
  if (flags.ts) {
    if (flags.at !== undefined) return `export type ${pascal(flags.at)} = ${typescriptOf(unionOf(edges.map(e => e.type)), '')}\n`
    return edges.map(e => `/** ${e.from} -> ${e.to} */\nexport type ${typeName(e)} = ${typescriptOf(e.type, '')}\n`).join('\n')
  }
  return edges.map(({ from, to, type }) => `${from} -> ${to}: ${typescriptOf(type, '')}\n`).join('')
}

const typeName = ({ from, to }: Edge): string => `${pascal(from)}To${pascal(to)}`

const pascal = (text: string): string => {
  const words = text.split(/[^A-Za-z0-9]+/).filter(Boolean)
  const name = words.map(word => word[0].toUpperCase() + word.slice(1)).join('')
  return /^[A-Za-z]/.test(name) ? name : `T${name}`
}
