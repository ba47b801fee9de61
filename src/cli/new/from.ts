/** `runner new --from FILE`: the files of a pipeline from a config of Benthos, Bento, Redpanda Connect or Vector. */
import { loadText } from '../../config/load.ts'
import { allNotes, type Draft, draftText, withdraw } from './from/draft.ts'
import { type Note, readForeign } from './from/foreign.ts'
import { fromBenthos, isBenthos } from './from/benthos.ts'
import { Sample } from './from/sample.ts'
import { fromVector, isVector } from './from/vector.ts'

export interface Translated {
  readonly pipeline: string
  readonly test: string
  /** Lines of `.env.example`. */
  readonly variables: readonly string[]
  /** Variables without a default, with a value for the test. */
  readonly env: Readonly<Record<string, string>>
  /** What is not translated. */
  readonly notes: readonly Note[]
  readonly tool: string
}

/** @param file its name, for comments @returns the files; or what is wrong with the config */
export async function translate(text: string, file: string, name: string): Promise<Translated | string> {
  if (/\.toml$/i.test(file))
    return `${file}: TOML is not read; convert it first: vector convert-config ${file} ${file.replace(/toml$/i, 'yaml')}`
  const { root, errors } = readForeign(text)
  if (errors.length > 0) return errors.map(e => `${file}:${e}`).join('\n')
  const tool = isVector(root) ? 'Vector' : isBenthos(root) ? 'Redpanda Connect' : undefined
  if (tool === undefined)
    return `${file}: not a config that runner new reads: those of Benthos, Bento and Redpanda Connect have input and output, those of Vector have sources and sinks with a type each`
  const draft: Draft = { tool, sources: [], transforms: [], sinks: [], notes: [], sample: new Sample(), variables: new Set() }
  if (tool === 'Vector') fromVector(root, draft)
  else fromBenthos(root, draft)
  const env = Object.fromEntries([...draft.variables].sort().map(variable => [variable, exampleOf(variable)]))
  let pipeline = draftText(draft, name, file)
  // The new file validates in any case: a step with a problem becomes a comment.
  for (;;) {
    const { problems } = await loadText(file, pipeline, { env: { ...env, ...process.env } })
    const wrong = problems.filter(p => p.severity === 'error')
    if (!wrong.some(p => withdraw(draft, p.path, p.message))) break
    pipeline = draftText(draft, name, file)
  }
  const defaults = [...pipeline.matchAll(/\$\{(\w+):-([^}]*)\}/g)].map(([, variable, value]) => `# ${variable}=${value}`)
  return {
    pipeline,
    test: testText(draft, name, env),
    variables: [...new Set([...Object.keys(env).map(variable => `${variable}=`), ...defaults])],
    env,
    notes: allNotes(draft),
    tool,
  }
}

function testText(draft: Draft, name: string, env: Readonly<Record<string, string>>): string {
  const { file } = (draft.sources.find(s => s.config)?.config ?? {}) as { file?: { format?: string } }
  const record = draft.isText ? 'hello' : draft.sample.record(file?.format === 'csv')
  return `# Run with: runner test ${name}.yaml
#
# The records are an example: replace them with real ones, and check the expectation.
clock: 0
tests:
  - name: two records
${Object.keys(env).length > 0 ? `    env: ${JSON.stringify(env)}\n` : ''}    steps:
      - input:
          - ${JSON.stringify({ values: [record, record] })}
    expect:
      outputs: []
`
}

/** By its name: a value that the schema of the setting accepts. */
function exampleOf(variable: string): string {
  if (/DSN|DATABASE|POSTGRES|PG_/.test(variable)) return 'postgres://localhost:5432/db'
  if (/REDIS/.test(variable)) return 'redis://localhost:6379'
  if (/WEBSOCKET|WS_/.test(variable)) return 'ws://localhost:8080'
  if (/BROKER|BOOTSTRAP/.test(variable)) return 'localhost:9092'
  if (/URL|URI|ENDPOINT/.test(variable)) return 'http://localhost:8080'
  return variable.toLowerCase().replaceAll('_', '-')
}
