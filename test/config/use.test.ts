import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import '../../src/built-in.ts'
import { type LoadOptions, loadPipeline } from '../../src/config/load.ts'
import { toYaml } from '../../src/explain/resolved.ts'
import { tempDir } from '../support/runner.ts'

const SHARED = `
kafka-eu: { brokers: "eu:9092", client_id: shared }
clean:
  parameters:
    field: { type: string, default: price }
    above: number
    names: { type: list, default: [a] }
  steps:
    - filter: value[param.field] > param.above && symbol in param.names
    - map: { keep: true, fields: { from: param.field } }
dead: { kafka: { use: "#kafka-eu", topic: dead } }
nested: [{ filter: a > 1 }, { use: "#clean", with: { above: 7 } }]
two: [{ filter: c > 1 }]
loop: [{ use: "#loop" }]
wrong: [{ filter: prce > }]
code: { parameters: { x: string }, steps: [{ filter: "a > \${param.x}" }] }
topics: { parameters: { t: list, env: { type: string, default: dev } }, settings: { topics: "\${param.t}", client_id: "runner-\${param.env}" } }
typo: { parameters: { x: string }, steps: [{ filter: a > param.y }] }
`

async function load(text: string, options: LoadOptions = {}, shared = SHARED) {
  const folder = tempDir({ 'p.yaml': text, 'shared.yaml': shared })
  const { pipeline, problems } = await loadPipeline(join(folder, 'p.yaml'), { env: { ABOVE: '12', WORD: 'much' }, ...options })
  const shown = problems.map(
    p =>
      `${p.file.slice(folder.length + 1)}:${p.line}:${p.column} ${p.code} ${p.message.replaceAll(`${folder}/`, '')}${p.suggestion ? ` [${p.suggestion}]` : ''}`,
  )
  return { pipeline: pipeline!, shown, folder }
}

const file = (transforms: string, more = ''): string => `name: p
sources: [{ stdin: {} }]
transforms: ${transforms}
sinks: [{ stdout: {} }]
${more}`

describe('use', () => {
  test('settings: the keys of the step replace those that are used', async () => {
    const { pipeline, shown } = await load(
      'name: p\nsources: [{ kafka: { use: ./shared.yaml#kafka-eu, topics: [t], client_id: own } }]\nsinks: [{ stdout: {} }]',
    )
    expect(shown).toEqual([])
    expect(pipeline.sources[0].config).toMatchObject({ brokers: 'eu:9092', topics: ['t'], client_id: 'own' })
  })

  test('steps: a list takes the place of its use, also nested, with parameters and their defaults', async () => {
    const { pipeline, shown } = await load(
      file(
        '[{ filter: b > 1 }, { use: ./shared.yaml#nested }, { use: "./shared.yaml#clean", with: { above: 1.50, names: [x, y], field: volume } }]',
      ),
    )
    expect(shown).toEqual([])
    expect(pipeline.transforms.map(t => [t.name, t.config.condition ?? t.config.fields])).toEqual([
      ['filter', 'b > 1'],
      ['filter_2', 'a > 1'],
      ['filter_3', 'value["price"] > 7 && symbol in ["a"]'],
      ['map', { from: '"price"' }],
      ['filter_4', 'value["volume"] > 1.50 && symbol in ["x","y"]'],
      ['map_2', { from: '"volume"' }],
    ])
  })

  test('the dead-letter queue, and a parameter of any type as a whole value or as part of a text', async () => {
    const { pipeline, shown } = await load(
      'name: p\nsources: [{ kafka: { use: ./shared.yaml#topics, with: { t: [a, b] } } }]\nsinks: [{ stdout: {} }]\ndlq: { use: ./shared.yaml#dead }',
    )
    expect(shown).toEqual([])
    expect(pipeline.sources[0].config).toMatchObject({ topics: ['a', 'b'], client_id: 'runner-dev' })
    expect(pipeline.dlq!.config).toMatchObject({ topic: 'dead', brokers: 'eu:9092' })
  })

  test('x- keys hold what this file shares, and are otherwise ignored', async () => {
    const { pipeline, shown } = await load(
      file('[{ use: "#x-clean" }, *first ]', 'x-clean: [{ filter: a > 1 }]\n').replace(
        'sources',
        'x-first: &first { filter: b > 1 }\nsources',
      ),
    )
    expect(shown).toEqual([])
    expect(pipeline.transforms.map(t => t.config.condition)).toEqual(['a > 1', 'b > 1'])
  })

  test('a field named use is a field', async () => {
    const { pipeline, shown } = await load(file('[{ map: { fields: { use: price, with: volume } } }]'))
    expect(shown).toEqual([])
    expect(pipeline.transforms[0].config.fields).toEqual({ use: 'price', with: 'volume' })
  })

  test('a parameter in an expression is a value, also one from a variable', async () => {
    const { pipeline, shown } = await load(
      file('[{ use: ./shared.yaml#clean, with: { above: "${ABOVE}", field: "a\\" || true || \\"" } }]'),
    )
    expect(shown).toEqual([])
    expect(pipeline.transforms[0].config.condition).toBe('value["a\\" || true || \\""] > 12 && symbol in ["a"]')
  })
})

const USED = '(used by p.yaml:3:21)'

test.each([
  [
    '[{ use: shared.yaml }]',
    ['p.yaml:3:21 CONFIG_USE write the file and the name in it: use: ./shared.yaml#name, or use: "#x-name" for this file'],
  ],
  ['[{ use: ./shred.yaml#clean }]', ['p.yaml:3:21 CONFIG_USE ./shred.yaml does not exist']],
  [
    '[{ use: ./shared.yaml#claen }]',
    [
      'p.yaml:3:21 CONFIG_USE ./shared.yaml has no claen; it has kafka-eu, clean, dead, nested, two, loop, wrong, code, topics, typo [./shared.yaml#clean]',
    ],
  ],
  ['[{ use: ./shared.yaml#clean }]', ['p.yaml:3:21 CONFIG_USE the parameter above (number) has no default: write with: { above: … }']],
  [
    '[{ use: ./shared.yaml#clean, with: { above: much, feild: a } }]',
    [
      'p.yaml:3:57 CONFIG_USE the parameter above is a number; got a string',
      'p.yaml:3:63 CONFIG_USE unknown parameter feild; allowed: field, above, names [field]',
    ],
  ],
  ['[{ use: ./shared.yaml#two, when: a }]', ['p.yaml:3:21 CONFIG_USE two is a list of steps, so when cannot be set for it']],
  ['[{ use: ./shared.yaml#wrong }]', [`shared.yaml:15:25 CONFIG_EXPRESSION `]],
  ['[{ use: ./shared.yaml#typo, with: { x: a } }]', ['shared.yaml:18:58 CONFIG_USE there is no parameter y; declare it under parameters']],
  [
    '[{ use: ./shared.yaml#clean, with: { above: "${WORD}" } }]',
    ['p.yaml:3:57 CONFIG_USE the parameter above is a number; the variable has another value'],
  ],
  ['[{ use: ./shared.yaml#loop }]', ['shared.yaml:14:15 CONFIG_USE loop is used inside more than 8 others; does it use itself?']],
  [
    '[{ use: ./shared.yaml#code, with: { x: "1 || true" } }]',
    [
      `shared.yaml:16:59 CONFIG_EXPRESSION \${param.x} would insert the parameter as code; to use its value in an expression, write param.NAME ${USED} [a > param.x]`,
    ],
  ],
])('%s', async (transforms, expected) => {
  const { shown } = await load(file(transforms))
  expect(shown).toHaveLength(expected.length)
  for (const [i, line] of expected.entries()) expect(shown[i]).toContain(line)
  if (shown[0].startsWith('shared')) expect(shown[0]).toMatch(/\(used by .*p.yaml:3:21\)/)
})

test('explain --resolved prints one file that means the same', async () => {
  const text = file(
    '[{ use: ./shared.yaml#nested }, { use: ./shared.yaml#clean, with: { above: 1.50, field: a } }]',
    'dlq: { use: ./shared.yaml#dead }\nx-unused: 1\n',
  )
  const { pipeline } = await load(text)
  const yaml = toYaml(pipeline.tree!)
  expect(yaml).toContain('value["price"] > 7')
  const again = (await load(yaml, {}, '')).pipeline
  expect(again.hash).toBe(pipeline.hash)
  expect(yaml).not.toMatch(/use:|x-unused/)
  const variable = await load(file('[{ use: ./shared.yaml#clean, with: { above: "${ABOVE:-1}" } }]'))
  expect(toYaml(variable.pipeline.tree!)).toContain('> decimal(env.?ABOVE.orValue("1"))')
})

test('YAML errors of a shared file are reported once, with the first use', async () => {
  const { shown } = await load(file('[{ use: ./shared.yaml#a }, { use: ./shared.yaml#a }]'), {}, 'a: [{ filter: x > 1 }\nb: 1\n')
  expect(shown).toEqual([expect.stringMatching(/^shared.yaml:1:4 CONFIG_YAML .* \(used by p.yaml:3:21\)$/)])
})

test('uses that multiply end at a limit', async () => {
  const big = `[${Array.from({ length: 1000 }, (_, i) => `{ filter: a > ${i} }`).join(', ')}]`
  const { shown } = await load(file(`[${'{ use: "#x-big" }, '.repeat(150)}{ filter: a > 1 }]`, `x-big: ${big}\n`))
  expect(new Set(shown.map(line => line.replace(/^\S+ /, '')))).toEqual(
    new Set(['CONFIG_USE all uses of a pipeline together insert at most 10000 values']),
  )
})

test('with --no-plugins, a use cannot read files outside the folder of the pipeline', async () => {
  const outside = tempDir({ 'secret.yaml': 'a: [{ filter: hunter2 > }]' })
  const { shown } = await load(file(`[{ use: ${outside}/secret.yaml#a }]`), { noPlugins: true })
  expect(shown.join()).toContain('is outside the folder of the pipeline and is not read with --no-plugins')
  expect(shown.join()).not.toContain('hunter2')
})

test('the example of the guide is valid', async () => {
  const [shared, trades] = [...readFileSync('docs/guide/reuse.md', 'utf8').matchAll(/```yaml\n([^]*?)```/g)].map(([, text]) => text)
  const { pipeline, shown } = await load(trades, { env: { KAFKA_EU: 'eu:9092' } }, shared)
  expect(shown).toEqual([])
  expect(pipeline.transforms[0].config.condition).toBe('value["price"] > 0')
  const wrong = await load(trades, { env: { KAFKA_EU: 'eu:9092' } }, shared.replace('> param.above', '> param.abov'))
  expect(readFileSync('docs/guide/reuse.md', 'utf8')).toContain(wrong.shown[0].replace(/ \[.*/, '').replace('p.yaml', 'trades.yaml'))
})
