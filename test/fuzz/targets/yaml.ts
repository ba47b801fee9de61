/** Pipeline files: never a crash, and every problem at a place in the text. */
import { readdirSync, readFileSync } from 'node:fs'
import '../../../src/built-in.ts'
import { loadText } from '../../../src/config/load.ts'
import { formatText } from '../../../src/config/format.ts'
import { MAX_INPUT } from '../mutate.ts'
import { restructureYaml } from '../restructure-yaml.ts'
import { assert, type Target } from '../target.ts'

const PIPELINES = new URL('../../../pipelines/', import.meta.url)
/** The files of the flows. */
const shipped = (): Buffer[] =>
  readdirSync(PIPELINES)
    .filter(name => name.endsWith('.yaml') && !name.endsWith('.test.yaml'))
    .map(name => readFileSync(new URL(name, PIPELINES)))
    .filter(bytes => bytes.length <= MAX_INPUT)

const SEEDS = [
  `name: bars
sources:
  - kafka: { topics: ["\${T:-a}"], group: "g" }
transforms:
  - bars: { interval: 1m, on_late: dlq }
  - filter: >-
      close > 0.0
      && symbol == env.?S.orValue('a')
sinks:
  - kafka: { topic: b, key: symbol }
dlq: { kafka: { topic: c } }
delivery: exactly_once
`,
  `name: x
version: 2
sources:
  - http: { port: 8080, path: /in, auth: { bearer: ["\${TOKEN}"] }, max_body: 1MiB }
    name: in
transforms:
  - map: { keep: true, fields: { "a.b": 'value.?c.orValue("d")' } }
    when: a == 1
  - window: { size: 1h, by: user, aggregates: { n: count, s: { sum: amount } } }
sinks:
  - redis: { url: "redis://localhost:6379/0", hash: h, hash_field: id }
    from: map
  - file: { path: "out/{hour}.jsonl" }
metrics: { port: 9100 }
limits: { depth: 10, state: 1GiB }
retry: &r { initial_delay: 100ms }
endpoints: [{ path: /s, port: 3000, healthy: ready, body: { lag: lag } }]
`,
]

export const target: Target = {
  name: 'yaml',
  seeds: () => [...SEEDS.map(text => Buffer.from(text)), ...shipped()],
  restructure: restructureYaml,
  dictionary: [
    '\n  - ',
    ': ',
    '{',
    '}',
    '[',
    ']',
    '&a ',
    '*a',
    '!!x ',
    '|',
    '>',
    '"',
    "'",
    '${',
    '${A:-',
    '${file:',
    '}',
    '#',
    '---\n',
    '<<: *a',
    '__proto__: ',
    'null',
    'env.A',
    '\t',
    '\r',
    '? ',
    '%',
    '1e999',
    '0x1',
    '.inf',
    '2026-01-01',
    'kafka',
    'map',
    'filter',
    'from: ',
    'when: ',
    'enabled: ',
    'dlq: ',
  ],
  async run(input) {
    const text = input.toString().replace(/^\uFEFF/, '')
    // No plugin file, no file of the machine.
    if (/plugins|file:|schema_file|formats|references/.test(text.replaceAll('- file:', ''))) return 'skipped'
    const { pipeline, problems } = await loadText('p.yaml', text, { env: { A: 'x"}\n- y', S: 's' } })
    assert((pipeline === undefined) === problems.some(p => p.severity === 'error'), 'a pipeline, or a reason why not')
    const lines = text.split('\n')
    for (const p of problems) {
      assert(p.line >= 1 && p.line <= lines.length, `a problem is on a line: ${p.message}`)
      assert(p.column >= 1 && p.column <= lines[p.line - 1].length + 1, `a problem is at a column: ${p.message}`)
      assert(!/has to be corrected|\[object/.test(p.message), `no plugin is surprised: ${p.message}`)
    }
    formatText(problems)
    return problems.length === 0
      ? 'valid'
      : problems
          .map(p => p.code)
          .slice(0, 3)
          .join()
  },
}
