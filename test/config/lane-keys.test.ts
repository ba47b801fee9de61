import { describe, expect, test } from 'vitest'
import { loadText } from '../../src/config/load.ts'

/** `keyed_by` of the source, steps before the window, and the grouping of the window. */
async function findings(options: { source?: string; keyedBy?: string; steps?: string; window?: string }): Promise<string[]> {
  const {
    source = 'kafka: { topics: [clicks] }',
    keyedBy,
    steps = '',
    window = 'window: { size: 1m, by: user, aggregates: { n: { count: "*" } } }',
  } = options
  const text = `name: t
sources:
  - ${source}
${keyedBy === undefined ? '' : `    keyed_by: ${keyedBy}\n`}transforms:
${steps}  - ${window}
sinks: [{ stdout: {} }]
`
  const { problems } = await loadText('t.yaml', text, { env: {} })
  return problems.map(p => `${p.severity} ${p.code}`)
}

const FINE: string[] = []
const WARNS = ['warning CONFIG_LANE_KEY']
const REFUSED = ['error CONFIG_LANE_KEY']

describe('a step that groups records by key', () => {
  test('grouping by the record key is valid, with and without rekey before it', async () => {
    expect(await findings({ window: 'window: { size: 1m, aggregates: { n: { count: "*" } } }' })).toEqual(FINE)
    expect(await findings({ window: 'window: { size: 1m, by: meta.key, aggregates: { n: { count: "*" } } }' })).toEqual(FINE)
    expect(await findings({ window: 'window: { size: 1m, by: "[meta.key, kind]", aggregates: { n: { count: "*" } } }' })).toEqual(FINE)
    expect(await findings({ steps: '  - rekey: user\n', window: 'window: { size: 1m, aggregates: { n: { count: "*" } } }' })).toEqual(WARNS)
  })

  test('grouping by a field is a warning if the file does not set the key of the records', async () => {
    expect(await findings({})).toEqual(WARNS)
    expect(await findings({ window: 'bars: { interval: 1m }' })).toEqual(WARNS)
    expect(await findings({ window: 'dedupe: id' })).toEqual(WARNS)
    expect(await findings({ window: 'throttle: { interval: 1s, key: user }' })).toEqual(WARNS)
  })

  test('grouping by the fields of keyed_by, or by more fields, is valid', async () => {
    expect(await findings({ keyedBy: 'user' })).toEqual(FINE)
    expect(await findings({ keyedBy: 'value.user' })).toEqual(FINE)
    expect(
      await findings({ keyedBy: 'user', window: 'window: { size: 1m, by: "[kind, user]", aggregates: { n: { count: "*" } } }' }),
    ).toEqual(FINE)
    expect(
      await findings({ keyedBy: 'user', window: 'window: { size: 1m, by: "user + \'/\' + kind", aggregates: { n: { count: "*" } } }' }),
    ).toEqual(FINE)
    expect(
      await findings({ keyedBy: '"[a, b]"', window: 'window: { size: 1m, by: "[b, a]", aggregates: { n: { count: "*" } } }' }),
    ).toEqual(FINE)
  })

  test('grouping by other fields than keyed_by is an error', async () => {
    expect(await findings({ keyedBy: 'account' })).toEqual(REFUSED)
    expect(await findings({ keyedBy: '"[user, kind]"' })).toEqual(REFUSED)
    expect(
      await findings({ keyedBy: 'user', steps: '  - rekey: kind\n', window: 'window: { size: 1m, aggregates: { n: { count: "*" } } }' }),
    ).toEqual(REFUSED)
    expect(await findings({ keyedBy: 'user', window: 'window: { size: 1m, by: \'"all"\', aggregates: { n: { count: "*" } } }' })).toEqual(
      REFUSED,
    )
  })

  test('fields are tracked through the preceding steps', async () => {
    expect(await findings({ keyedBy: 'user', steps: '  - map: { fields: { user: user, n: size } }\n' })).toEqual(FINE)
    expect(await findings({ keyedBy: 'u.id', steps: '  - map: { fields: { user: u.id } }\n' })).toEqual(FINE)
    expect(
      await findings({
        keyedBy: 'u',
        steps: '  - map: { fields: { who: u } }\n',
        window: 'window: { size: 1m, by: who.id, aggregates: { n: { count: "*" } } }',
      }),
    ).toEqual(REFUSED)
    expect(await findings({ keyedBy: 'user', steps: '  - map: { fields: { user: team } }\n' })).toEqual(REFUSED)
    expect(await findings({ keyedBy: 'user', steps: '  - map: { keep: true, fields: { n: size } }\n' })).toEqual(FINE)
    expect(await findings({ keyedBy: 'data.user', steps: '  - envelope: { unwrap: true }\n' })).toEqual(FINE)
    expect(
      await findings({
        keyedBy: 'user',
        steps: '  - window: { size: 1s, by: user, aggregates: { n: { count: "*" } } }\n',
        window: 'window: { size: 1m, by: key, aggregates: { n: { sum: n } } }',
      }),
    ).toEqual(FINE)
    expect(await findings({ keyedBy: 'user', steps: '  - map: { fields: { user: team } }\n    when: has(value.team)\n' })).toEqual(FINE)
  })

  test('a source with one lane needs no keyed_by', async () => {
    expect(await findings({ source: 'file: { path: in.jsonl }' })).toEqual(FINE)
    expect(await findings({ source: 'stdin: {}' })).toEqual(FINE)
    expect(await findings({ source: 'file: { path: "in/*.jsonl" }' })).toEqual(WARNS)
    expect(await findings({ source: 'redis: { streams: [a], group: g }' })).toEqual(FINE)
    expect(await findings({ source: 'redis: { streams: [a, b], group: g }' })).toEqual(WARNS)
  })

  test('several topics or sources may feed one window', async () => {
    const byKey = 'window: { size: 1m, aggregates: { n: { count: "*" } } }'
    expect(await findings({ source: 'kafka: { topics: [a, b] }', window: byKey })).toEqual(WARNS)
    expect(await findings({ source: 'kafka: { topics: [a, b] }', keyedBy: 'user' })).toEqual(FINE)
    const two = 'file: { path: a.jsonl }\n  - file: { path: b.jsonl }'
    expect(await findings({ source: two })).toEqual(WARNS)
    expect(await findings({ source: two, window: 'window: { size: 1m, by: \'"all"\', aggregates: { n: { count: "*" } } }' })).toEqual(
      REFUSED,
    )
    expect(await findings({ source: 'file: { path: a.jsonl }\n    keyed_by: user\n  - file: { path: b.jsonl }', keyedBy: 'user' })).toEqual(
      FINE,
    )
  })

  test('the message contains the fix', async () => {
    const { problems } = await loadText(
      't.yaml',
      'name: t\nsources:\n  - kafka: { topics: [clicks] }\n    keyed_by: account\ntransforms:\n  - window: { size: 1m, by: user, aggregates: { n: { count: "*" } } }\nsinks: [{ stdout: {} }]\n',
      { env: {} },
    )
    expect(problems[0]).toMatchObject({ line: 6, column: 5, path: 'transforms[0].window' })
    expect(problems[0].message).toBe(
      'window groups records by `user`, and its state is kept by lane: kafka keeps records together by account (keyed_by). Put `- repartition: { by: user }` before window',
    )
  })
})
