/** Files with a `route`: the problem of each mistake at its place, the fields after branches, keys of lanes, and shared steps. */
import { expect, test } from 'vitest'
import { laneKeyFindings } from '../../src/config/lane-keys.ts'
import { loadPipeline, loadText } from '../../src/config/load.ts'
import { describe } from '../../src/explain/describe.ts'
import { toText } from '../../src/explain/text.ts'
import { tempDir } from '../support/runner.ts'
import { marked } from './marked.ts'

const SOURCE = 'generate: { fields: { size: { random: { min: 0, max: 9 } }, id: { value: x } } }'
const file = (
  transforms: string,
  sinks = '[{ stdout: {}, name: out }, { file: { path: a.jsonl }, name: alerts }]',
  source = SOURCE,
): string =>
  `name: p\nsources:\n  - ${source}\ntransforms:\n${transforms
    .split('\n')
    .map(line => `  ${line}\n`)
    .join('')}sinks: ${sinks}\n`

async function problemsOf(text: string): Promise<string[]> {
  const { problems } = await loadText('p.yaml', text, { env: {} })
  return problems
    .filter(p => p.code !== 'CONFIG_LANE_KEY')
    .map(
      p =>
        `${p.line}:${p.column}-${p.endColumn} ${p.code.replace('CONFIG_', '')}${p.severity === 'error' ? '' : ' warning'}${p.suggestion === undefined ? '' : ` ${p.suggestion}`}`,
    )
}

test.each<[what: string, text: string, ...expected: string[]]>([
  ['a sink that does not exist', file('- route: [{ name: a, when: size > 1, to: «alert» }]'), 'BRANCH alerts'],
  ['a sink of a list', file('- route: [{ name: a, when: size > 1, to: [alerts, «aleerts»] }]'), 'BRANCH alerts'],
  [
    'a step instead of a sink',
    file('- map: { keep: true, fields: { n: "1" } }\n- route: [{ name: a, when: size > 1, to: «map» }]'),
    'BRANCH',
  ],
  ['two branches of one name', file('- route: [{ name: a, when: size > 1 }, { name: «a», when: size > 2 }]'), 'CHECK'],
  ['a branch that receives everything before another', file('- route: [{ name: «a» }, { name: b, when: size > 2 }]'), 'CHECK'],
  ['on_unmatched that never happens', file('- route: { branches: [{ name: a }], on_unmatched: «drop» }'), 'CHECK'],
  ['a branch without a name', file('- route: [«{ when: size > 1 }»]'), 'MISSING_KEY'],
  ['an unknown key of a branch', file('- route: [{ name: a, «wehn»: size > 1 }]'), 'UNKNOWN_KEY when'],
  ['a condition', file('- route: [{ name: a, when: size >« »}]'), 'EXPRESSION'],
  [
    'an unknown plugin in a branch',
    file('- route: [{ name: a, when: size > 1, steps: [{ «fliter»: size > 2 }] }]'),
    'UNKNOWN_PLUGIN filter',
  ],
  ['a sink in a branch', file('- route: [{ name: a, when: size > 1, steps: [{ «stdout»: {} }] }]'), 'WRONG_SECTION'],
  [
    'a setting of a step in a branch',
    file('- route: [{ name: a, when: size > 1, steps: [{ map: { «filds»: { n: "1" } } }] }]'),
    'UNKNOWN_KEY fields',
  ],
  [
    'the long form',
    file('- route: { branches: [{ name: a, when: size > 1, steps: [{ map: { «filds»: { n: "1" } } }] }] }'),
    'UNKNOWN_KEY fields',
  ],
  ['a step that is no map', file('- route: [{ name: a, when: size > 1, steps: [«filter»] }]'), 'STEP filter: {}'],
  [
    'when of a step in a branch',
    file('- route: [{ name: a, when: size > 1, steps: [{ filter: size > 2, when: size >« »}] }]'),
    'EXPRESSION',
  ],
  [
    'a name that is used in the branch',
    file('- route: [{ name: a, steps: [{ filter: size > 2, name: f }, { filter: size > 3, name: «f» }] }]'),
    'DUPLICATE_NAME',
  ],
  ['repartition in a branch', file('- route: [{ name: a, when: size > 1, steps: [{ «repartition»: { by: id } }] }]'), 'BRANCH'],
  [
    'a route in a branch of two routes to one sink',
    file('- route: [{ name: a, when: size > 1, to: alerts }]\n- route: [{ name: b, when: size > 0, to: «alerts» }]'),
    'BRANCH',
  ],
  ['nothing leaves the route', file('- «route»: [{ name: a, to: alerts }]'), 'BRANCH'],
  [
    'a step after a route that nothing leaves',
    file('- «route»: [{ name: a, to: alerts }]\n- filter: size > 1', '[{ file: { path: a.jsonl }, name: alerts }]'),
    'BRANCH',
  ],
  [
    'a sink with from',
    file(
      '- validate: { schema: { type: object }, on_invalid: port }\n- route: [{ name: a, when: size > 1, to: «alerts» }]',
      '[{ stdout: {}, name: out }, { file: { path: a.jsonl }, name: alerts, from: validate.invalid }]',
    ),
    'BRANCH',
  ],
  [
    'a disabled sink',
    file(
      '- route: [{ name: a, when: size > 1, to: «alerts» }]',
      '[{ stdout: {}, name: out }, { file: { path: a.jsonl }, name: alerts, enabled: false }]',
    ),
    'BRANCH warning',
  ],
  ['a disabled route', file('- «route»: [{ name: a, when: size > 1, to: alerts }]\n  enabled: false'), 'BRANCH'],
  [
    'from of a branch',
    file(
      '- route: [{ name: a, when: size > 1 }]',
      '[{ stdout: {}, name: out }, { file: { path: a.jsonl }, name: alerts, from: «route.a» }]',
    ),
    'FROM',
  ],
  [
    'a port of a step in a branch',
    file('- route: [{ name: a, steps: [{ «validate»: { schema: { type: object }, on_invalid: port } }] }]'),
    'PORT warning',
  ],
  // Fields.
  ['a field in a condition', file('- route: [{ name: a, when: «siez» > 1 }]'), 'NO_FIELD size'],
  ['a field in a branch', file('- route: [{ name: a, when: size > 1, steps: [{ filter: «idd» == "x" }] }]'), 'NO_FIELD id'],
  [
    'when of a step in a branch reads a field that an earlier one removed',
    file(
      '- route:\n    - name: a\n      steps:\n        - map: { keep: true, drop: [id] }\n        - { filter: size > 1, when: «id» == "x" }',
    ),
    'NO_FIELD',
  ],
  [
    'a later `when` reads a field that an earlier step removed',
    file('- map: { keep: true, drop: [id] }\n- { filter: size > 1, when: «id» == "x" }'),
    'NO_FIELD',
  ],
  [
    'a later `when` reads a field that an earlier step did not keep, from any source',
    file('- map: { fields: { n: size } }\n- { filter: n > 1, when: «id» == "x" }', undefined, 'stdin: {}'),
    'NO_FIELD',
  ],
  [
    'a field of one branch only, after the join',
    file('- route: [{ name: a, when: size > 1, steps: [{ map: { keep: true, fields: { big: "true" } } }] }]\n- filter: «big»'),
    'NO_FIELD warning value.?big.orValue(…)',
  ],
  [
    'a field that no branch has',
    file(
      '- route: [{ name: a, when: size > 1, steps: [{ map: { keep: true, drop: [id] } }] }, { name: b, steps: [{ map: { fields: { size: size } } }] }]\n- filter: «id» == "x"',
    ),
    'NO_FIELD',
  ],
  [
    'a sink of a branch',
    file(
      '- route: [{ name: a, when: size > 1, to: alerts, steps: [{ map: { fields: { n: size } } }] }]',
      '[{ stdout: {}, name: out }, { file: { path: a.jsonl }, name: alerts, when: «size» > 1 }]',
    ),
    'NO_FIELD',
  ],
])('%s', async (_, text, ...expected) => {
  const { text: plain, places } = marked(text)
  expect(await problemsOf(plain)).toEqual(places.map((place, i) => `${place} ${expected[i]}`))
})

test('a file without problems has none: ports of steps in branches, nested routes, variables', async () => {
  const text = file(
    `- name: sizes
  route:
    - name: large
      when: size > env.?LIMIT.orValue("1").size()
      steps:
        - { name: check, validate: { schema: { type: object }, on_invalid: port } }
        - name: inner
          route: [{ name: a, when: size > 5, steps: [{ filter: size > 6 }] }]
    - { name: rest, to: [alerts] }`,
    '[{ stdout: {}, name: out }, { file: { path: a.jsonl }, name: alerts }, { file: { path: b.jsonl }, name: bad, from: sizes/large/check.invalid }]',
  )
  const { pipeline, problems } = await loadText('p.yaml', text, { env: {} })
  expect(problems).toEqual([])
  expect(pipeline!.transforms.map(t => [t.name, t.branch])).toEqual([
    ['sizes', undefined],
    ['sizes/large/check', 'sizes/large'],
    ['sizes/large/inner', 'sizes/large'],
    ['sizes/large/inner/a/filter', 'sizes/large/inner/a'],
  ])
  expect(pipeline!.sinks.map(s => s.from)).toEqual([
    undefined,
    { step: 'sizes', port: 'alerts' },
    { step: 'sizes/large/check', port: 'invalid' },
  ])
})

test('explain shows the branches, and the graph their ends', async () => {
  const { pipeline } = await loadText(
    'p.yaml',
    file(
      '- route: [{ name: a, when: size > 1, steps: [{ filter: size > 2 }] }, { name: b, when: size < 0, to: alerts, steps: [{ filter: size < -1 }] }]\n- rekey: id',
    ),
    { env: {} },
  )
  const explained = describe(pipeline!)
  expect(explained.edges.map(({ from, to, port }) => `${from} > ${to}${port === undefined ? '' : ` ${port}`}`)).toEqual([
    'generate > route',
    'route > route/a/filter a',
    'route > route/b/filter b',
    'route/a/filter > rekey',
    'route > rekey',
    'rekey > out',
    'route/b/filter > alerts',
  ])
  const lines = toText(explained, (_, text) => text)
    .split('\n')
    .slice(3, 16)
  expect(lines.map(line => line.replaceAll(/ {2,}/g, '  ').trimEnd())).toEqual([
    '  ●  generate  line 3',
    '  │',
    '  │  route  a, b  line 5',
    '  │  ├─ a  when size > 1',
    '  │  │  route/a/filter  filter  size > 2  line 5',
    '  │  ├─ b  when size < 0  to alerts',
    '  │  │  route/b/filter  filter  size < -1  line 5',
    '  │  rekey  id  line 6',
    '  │',
    '  ├──▶ out  stdout  jsonl  at least once  line 7',
    '  └──▶ alerts  file  a.jsonl  from route/b  at least once  line 7',
    '',
    'Delivery',
  ])
})

test('keys of lanes are followed through each branch', async () => {
  const window = (name: string) => `{ name: ${name}, window: { size: 1m, by: user, aggregates: { n: { count: "*" } } } }`
  const text = file(
    `- route:
    - { name: same, when: a > 1, steps: [${window('w')}] }
    - { name: other, when: a > 0, steps: [{ map: { fields: { user: team } } }, ${window('w')}] }
    - { name: moved, when: a > -1, steps: [{ map: { fields: { who: user } } }] }
- rekey: '"all"'
- { name: after, window: { size: 1m, aggregates: { n: { count: "*" } } } }`,
    '[{ stdout: {} }]',
    'kafka: { topics: [in] }\n    keyed_by: user',
  )
  const { problems } = await loadText('p.yaml', text, { env: {} })
  expect(problems.map(p => `${p.line} ${p.severity} ${p.message.split(' ')[0]}`)).toEqual(['8 error route/other/w', '11 error after'])
  const sound = await loadText(
    'p.yaml',
    file(
      `- route: [{ name: same, when: a > 1, steps: [${window('w')}] }]`,
      '[{ stdout: {} }]',
      'kafka: { topics: [in] }\n    keyed_by: user',
    ),
    { env: {} },
  )
  expect(laneKeyFindings(sound.pipeline!)).toEqual([])
})

test('steps of a branch can be shared', async () => {
  const dir = tempDir({
    'shared.yaml': 'clean:\n  - filter: size > 2\n  - { map: { keep: true, fields: { clean: "true" } } }\n',
    'p.yaml': file('- route:\n    - name: a\n      when: size > 1\n      steps:\n        - use: ./shared.yaml#clean'),
  })
  const { pipeline, problems } = await loadPipeline(`${dir}/p.yaml`, { env: {} })
  expect(problems).toEqual([])
  expect(pipeline!.transforms.map(t => t.name)).toEqual(['route', 'route/a/filter', 'route/a/map'])
})
