/** The files of a new pipeline: the pipeline, its test, and the variables it reads. */
import { suggest } from '../../kit/text/suggest.ts'
import { formatYaml } from '../fmt/format.ts'
import { COLUMNS, RENAMED, SAMPLE_COLUMNS, SERVERS, SINKS, SOURCES, TRANSFORMS } from './steps.ts'

export interface Plan {
  readonly name: string
  readonly source: string
  readonly transforms: readonly string[]
  readonly sink: string
}

/** @returns the plan, or what is wrong with the words and what to write */
export function planOf(name: string, flow: string): Plan | string {
  if (!/^[a-z][a-z0-9_-]*$/.test(name))
    return `'${name}' is not a name of a pipeline: start with a lowercase letter, and use lowercase letters, digits, - and _`
  const words = flow.split('/')
  if (words.length < 2 || words.includes('')) return `'${flow}' needs a source and a sink: write kafka/stdout, or kafka/bars/kafka`
  const [source, ...transforms] = words
  const sink = transforms.pop()!
  const unknown =
    problemOf('source', SOURCES, source) ??
    transforms.map(t => problemOf('transform', TRANSFORMS, t)).find(p => p !== undefined) ??
    problemOf('sink', SINKS, sink)
  return unknown ?? { name, source, transforms, sink }
}

export function problemOf(kind: string, steps: Readonly<Record<string, string>>, word: string): string | undefined {
  if (Object.hasOwn(steps, word)) return undefined
  const near = suggest(word, Object.keys(steps))
  const hint = near === undefined ? '.' : `; did you mean ${near}?`
  return `'${word}' is not a ${kind} that runner new can write${hint} It writes ${Object.keys(steps).join(', ')}; add others by hand (runner list)`
}

export function pipelineText(plan: Plan): string {
  const { name, source, transforms, sink } = plan
  const { steps, columns } = stepsOf(transforms)
  const fill = (text: string): string => text.replace('COLUMNS', columns).replaceAll('PREFIX', prefixOf(name)).replaceAll('NAME', name)
  const exact = source === 'kafka' && sink === 'kafka'
  const lines = [
    `name: ${name}`,
    `description: ${[source, ...transforms, sink].join(' → ')}`,
    'sources:',
    `  - ${fill(SOURCES[source]).replace(/^\{ (.*) \}$/, '$1')}`,
    ...(transforms.some(t => KEYED.has(t)) && source === 'kafka'
      ? ['    keyed_by: symbol # the field that the producer uses as the key of its records']
      : []),
    ...(transforms.length > 0 ? ['transforms:', ...steps.map(text => `  - ${fill(text).replace(/^\{ (.*) \}$/, '$1')}`)] : []),
    'sinks:',
    `  - ${fill(SINKS[sink]).replace(/^\{ (.*) \}$/, '$1')}`,
    '# Records that cannot be processed, with the reason.',
    source === 'kafka'
      ? `dlq: { kafka: { topic: "${'${'}${prefixOf(name)}_DLQ_TOPIC:-${name}.dlq}" } }`
      : `dlq: { file: { path: ${name}.dead.jsonl, envelope: true } }`,
    ...(exact ? ['delivery: exactly_once # outputs, state and offsets commit in one transaction'] : []),
  ]
  return formatYaml(`${lines.join('\n')}\n`)
}

/** The transforms with the fields that the records have there, and the columns of their result. */
function stepsOf(transforms: readonly string[]): { steps: string[]; columns: string } {
  let names: Readonly<Record<string, string>> = {}
  let columns = SAMPLE_COLUMNS
  const rename = (text: string): string => text.replaceAll(/\b(id|symbol|price|volume|ts)\b/g, name => names[name] ?? name)
  const steps = transforms.map(transform => {
    const text = rename(TRANSFORMS[transform])
    if (Object.hasOwn(COLUMNS, transform)) columns = transform === 'map' ? rename(COLUMNS.map) : COLUMNS[transform]
    const after = Object.entries(RENAMED[transform] ?? {})
    names = { ...names, ...Object.fromEntries(after.map(([name, now]) => [name, rename(now)])) }
    return text
  })
  return { steps, columns }
}

/** Steps with a result per key: all records of a key must be on one lane. */
const KEYED = new Set(['bars', 'window', 'dedupe', 'throttle'])

/** The expectation is written by running the pipeline. */
export const testText = ({ name }: Plan): string => `# Run with: runner test ${name}.yaml
#
# The clock starts at 0, so that times are milliseconds since the test began.
clock: 0
tests:
  - name: two records, a minute apart
    steps:
      - input:
          - values:
              - { id: 1, symbol: BTCUSDT, price: 100, volume: 2, ts: 0 }
              - { id: 2, symbol: BTCUSDT, price: 101, volume: 1, ts: 65000 }
    expect:
      outputs: []
`

/** Lines of `.env.example`: each variable of the pipeline with its default. */
export function variablesOf(plan: Plan, pipeline: string): string[] {
  const own = [...pipeline.matchAll(/\$\{(\w+):-([^}]*)\}/g)].map(([, variable, value]) => `# ${variable}=${value}`)
  const servers = [plan.source, plan.sink].flatMap(type =>
    Object.hasOwn(SERVERS, type) ? [`# ${SERVERS[type][1]}\n# ${SERVERS[type][0]}`] : [],
  )
  return [...new Set([...servers, ...own])]
}

const prefixOf = (name: string): string => name.toUpperCase().replaceAll('-', '_')
