import { describe, expect, test } from 'vitest'
import type { ScheduleSourceConfig } from '../../../src/generated/config-types.ts'
import schedule from '../../../src/connectors/schedule/source.ts'
import { fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { readAll, sourceConformance } from '../../conformance/source.ts'

const config = (c: Partial<ScheduleSourceConfig>): ScheduleSourceConfig => ({ timezone: 'UTC', catch_up: 'all', value: {}, ...c })
const iso = (ms: number) => new Date(ms).toISOString()
const { signal } = new AbortController()

async function open(c: Partial<ScheduleSourceConfig>, position?: number) {
  const ctx = fakeSourceContext('schedule', position === undefined ? new Map() : new Map([['schedule', position]]))
  const source = schedule.create(config(c), ctx)
  await source.open!(signal)
  return { source, ctx }
}
const times = async (c: Partial<ScheduleSourceConfig>, position?: number) =>
  (await readAll((await open(c, position)).source)).flatMap(b => b.messages.map(m => m.offset))

// The clock of a test is fixed at 1,000,000 ms.
sourceConformance('schedule', {
  plugin: schedule,
  async prepare(records) {
    const n = records.length
    const first = 100_000
    return {
      config: config({ every: 100, from: String(first), until: String(first + n * 100 + (n === 0 ? 1 : 0)), value: { task: 'x' } }),
      expected: Array.from({ length: Math.max(n, 1) }, (_, i) => JSON.stringify({ scheduled_at: iso(first + i * 100), task: 'x' })),
    }
  },
  prepareEndless: async () => config({ every: 3_600_000, from: '1000000' }),
})

describe('schedule', () => {
  test('missed times: all, the latest, or none; a restart continues after the last one that fired', async () => {
    const c = { every: 100_000, from: '0', until: '1000000' }
    expect(await times({ ...c, catch_up: 'all' })).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(n => n * 100_000))
    expect(await times({ ...c, catch_up: 'latest' })).toEqual([900_000])
    expect(await times({ ...c, catch_up: 'none' })).toEqual([])
    expect(await times({ ...c, catch_up: 'all' }, 700_000)).toEqual([800_000, 900_000])
    expect(await times({ ...c, catch_up: 'latest' }, 900_000)).toEqual([])
  })

  test('the source waits for the next time; the first start is saved before the first record', async () => {
    const { source, ctx } = await open({ every: 60_000, key: 'k' })
    expect(await source.read(signal)).toMatchObject({ messages: [], position: 1_000_000 })
    expect(source.caughtUp!('schedule')).toBe(true)
    const read = source.read(signal)
    ctx.clock.step(1_020_000)
    const batch = await read
    expect(batch).toMatchObject({ position: 1_020_000, messages: [{ offset: 1_020_000, time: 1_020_000 }] })
    expect([batch!.messages[0].key, batch!.messages[0].value]).toEqual(['k', { scheduled_at: iso(1_020_000) }])
  })

  test('none drops the times missed at a start, not later ones', async () => {
    const { source, ctx } = await open({ every: 60_000, catch_up: 'none' }, 60_000)
    expect(await source.read(signal)).toMatchObject({ messages: [], position: 960_000 })
    ctx.clock.step(1_150_000)
    expect(await source.read(signal)).toMatchObject({ messages: [{ offset: 1_140_000 }], position: 1_140_000 })
  })

  test('cron expressions follow their time zone, daylight saving time included', async () => {
    const cron = (from: string, until: string, c: Partial<ScheduleSourceConfig>) => {
      const ctx = fakeSourceContext('schedule')
      ctx.clock.step(Date.parse('2027-01-01'))
      const source = schedule.create(config({ from, until, ...c }), ctx)
      return source.open!(signal).then(async () => (await readAll(source)).flatMap(b => b.messages.map(m => iso(m.time))))
    }
    const berlin = { cron: '30 7 * * *', timezone: 'Europe/Berlin' }
    expect(await cron('2026-03-28', '2026-03-30', berlin)).toEqual(['2026-03-28T06:30:00.000Z', '2026-03-29T05:30:00.000Z'])
    expect(await cron('2026-01-01T00:00:00Z', '2026-01-01T00:11:00Z', { cron: '*/5 * * * *' })).toHaveLength(3)
    expect(await cron('2026-01-01', '2027-01-01', { cron: '0 0 1 * *', catch_up: 'latest' })).toEqual(['2026-12-01T00:00:00.000Z'])
  })

  test('errors in a config are reported', () => {
    const messages = (c: Partial<ScheduleSourceConfig>) => schedule.validateConfig!(config(c)).map(p => `${p.path.join('.')}: ${p.message}`)
    expect(messages({})).toEqual([': set every or cron'])
    expect(messages({ every: 1, cron: '* * * * *' })).toEqual(['cron: set either every or cron, not both'])
    expect(messages({ every: 0 })).toEqual(['every: must be greater than 0'])
    expect(messages({ cron: '99 * * * *' })).toEqual([
      "cron: '99' is not valid as minute: write *, or values from 0 to 59 such as 5, 1-5 or */5",
    ])
    expect(messages({ cron: '0 9 * * 1-8' })).toEqual([expect.stringMatching(/^cron: '1-8' is not valid as day of the week: /)])
    expect(messages({ cron: '*/5 * * *' })).toEqual([expect.stringMatching(/^cron: must have five fields .* for example "/)])
    expect(messages({ cron: '* * * * *', timezone: 'Mars/Olympus' })).toEqual([
      expect.stringMatching(/^timezone: unknown time zone: write an IANA name /),
    ])
    expect(messages({ every: 1, timezone: 'Europe/Berlin' })).toEqual([expect.stringMatching(/^timezone: .* write cron: "0 0 \* \* \*"$/)])
    expect(messages({ every: 1, from: '5', until: '5' })).toEqual(['until: must be later than from'])
    expect(messages({ every: 1, value: { scheduled_at: 1 } })).toHaveLength(1)
  })
})
