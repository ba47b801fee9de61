import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { EnvelopeConfig } from '../../src/generated/config-types.ts'
import envelope from '../../src/transforms/envelope.ts'
import { messagesOf, runTransform, seen, transformConformance } from '../conformance/transform.ts'

const names = { timestamp: 'timestamp', producer_service: 'producer_service', data: 'data' }
const config = (c: Partial<EnvelopeConfig>): EnvelopeConfig => ({ unwrap: false, set_time: true, time_format: 'iso', names, ...c })
const at = '2026-01-01T00:00:00.000Z'

async function unwrapped(c: Partial<EnvelopeConfig>, ...values: unknown[]): Promise<unknown[]> {
  const run = await runTransform(envelope, config({ unwrap: true, ...c }), [messagesOf(values.map(value => ({ value, time: 1 })))])
  return run.events.map(e => (e.kind === 'fail' ? e.error.message : [e.message.value, e.message.time]))
}

describe('envelope', () => {
  test('wraps the value with the time of the message, and keeps the key and the field order', async () => {
    const input = { value: { a: 1 }, key: 'k', time: Date.parse(at) }
    expect(seen(await runTransform(envelope, config({ wrap: 'svc' }), [messagesOf([input])]))).toEqual([
      `k @1767225600000 {"timestamp":"${at}","producer_service":"svc","data":{"a":1}}`,
    ])
    const own = config({ wrap: 'svc', time_format: 'epoch_ms', names: { timestamp: 'ts', producer_service: 'by', data: 'payload' } })
    expect((await runTransform(envelope, own, [messagesOf([input])])).out[0].value).toEqual({
      ts: 1767225600000,
      by: 'svc',
      payload: { a: 1 },
    })
  })

  test('unwraps a wrapped value, with its time', async () => {
    expect(await unwrapped({}, { timestamp: at, producer_service: 's', data: null })).toEqual([[null, 1767225600000]])
    expect(await unwrapped({}, { timestamp: '2026-01-01T01:00:00+01:00', producer_service: 's', data: 5, more: 1 })).toEqual([
      [5, 1767225600000],
    ])
    expect(await unwrapped({ set_time: false }, { timestamp: 1767225600000, producer_service: 's', data: [] })).toEqual([[[], 1]])
  })

  test('a value that is not an envelope is dead-lettered with the reason', async () => {
    const good = { timestamp: at, producer_service: 's', data: 1 }
    const { data: _, ...bare } = good
    const times = [undefined, 'yesterday', '2026-01-01', '2026-13-01T00:00:00Z', -1].map(timestamp => ({ ...good, timestamp }))
    expect(await unwrapped({}, 5, [good], ...times, { ...good, producer_service: '' }, bare)).toEqual([
      'the value is not an envelope: it must be an object, not 5',
      expect.stringContaining('it must be an object, not [{'),
      ...['missing', '"yesterday"', '"2026-01-01"', '"2026-13-01T00:00:00Z"', '-1'].map(
        t => `timestamp is ${t}; allowed: an ISO 8601 time with its zone, or epoch milliseconds`,
      ),
      'producer_service is ""; allowed: the name of a service',
      'the value is not an envelope: data is missing',
    ])
    expect(await unwrapped({ producers: ['a', 'b'] }, good)).toEqual(['producer_service is "s"; allowed: a, b'])
  })

  test('check', () => {
    expect(envelope.validateConfig!(config({}))).toHaveLength(1)
    expect(envelope.validateConfig!(config({ wrap: 'a', unwrap: true }))).toHaveLength(1)
    expect(envelope.validateConfig!(config({ wrap: 'a', names: { ...names, data: 'timestamp' } }))).toHaveLength(1)
    expect(envelope.validateConfig!(config({ wrap: 'a' }))).toEqual([])
  })
})

const value = fc.record(
  { timestamp: fc.constantFrom(at, 'no', 5), producer_service: fc.string(), data: fc.jsonValue() },
  { requiredKeys: [] },
)
transformConformance('envelope', envelope, config({ unwrap: true }), fc.array(fc.record({ value }), { maxLength: 20 }))
