/** Keys that are not text, such as the binary numbers of Java's LongSerializer: different bytes are different keys, and are written unchanged. */
import { MemoryChannel, run } from 'pipeline-runner'
import { beforeAll, expect, test } from 'vitest'
import { keyTextOf, Message } from '../../src/contract/plugin.ts'
import { linkRecords, messageOf } from '../../src/connectors/kafka/link/wire.ts'
import { park, unpark } from '../../src/transforms/join_latest/parked.ts'
import { tempDir } from '../support/runner.ts'

beforeAll(() => {
  process.env.RUNNER_STATE_DIR = tempDir()
})

const long = (n: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(n)
  return bytes
}
const KEYS = [long(0x80n), long(0x81n), long(-1n), long(1n), Buffer.from('text'), Buffer.from('\ufffd')]

let count = 0
async function through(transforms: readonly object[]): Promise<{ key: Buffer | null; value: unknown }[]> {
  const [input, out] = [0, 1].map(() => new MemoryChannel())
  const handle = await run(
    { name: `binary-${++count}`, sources: [{ memory: { channel: 'in' } }], transforms, sinks: [{ memory: { channel: 'out' } }] },
    { memory: { in: input, out } },
  )
  await input.send(KEYS.concat(KEYS).map((key, i) => ({ key, payload: `{"n":${i}}`, time: 1000 + i })))
  input.end()
  await handle.completed
  return out.take().map(r => ({ key: r.keyBytes, value: r.value }))
}
const byKey = (keys: readonly (Buffer | null)[]): string[] => keys.map(k => k!.toString('hex')).toSorted()

test('steps that group by the key distinguish them', async () => {
  const windows = await through([{ window: { size: '1h', aggregates: { n: { count: '*' } } } }])
  expect(windows.map(w => w.value)).toHaveLength(KEYS.length)
  expect(windows.every(w => (w.value as { n: number }).n === 2)).toBe(true)
  expect(windows.map(w => (w.value as { key: string }).key).toSorted()).toEqual(KEYS.map(keyTextOf).toSorted())
  expect(byKey((await through([{ dedupe: { key: 'meta.key' } }])).map(r => r.key))).toEqual(byKey(KEYS))
  expect(byKey((await through([{ throttle: { interval: '1h' } }])).map(r => r.key))).toEqual(byKey(KEYS))
})

test('a key in a state or an internal topic keeps its bytes', async () => {
  expect(byKey((await through([{ throttle: { interval: '1h', keep: 'last' } }])).map(r => r.key))).toEqual(byKey(KEYS))
  const lane = { id: 'l/0', source: 's', topic: 'l', partition: 0 }
  const origin = { lane: 'l/0', source: 's', topic: 'l', partition: 0, format: 'json' } as const
  for (const key of KEYS) {
    const m = Message.fromRecord(Buffer.from('{}'), key, 1, undefined, 7, origin)
    expect(unpark(park(m), lane, 256).encodeKey()).toEqual(key)
    const [record] = linkRecords(m, lane, 1)
    const back = messageOf(record, 3, lane)
    expect([back.keyBytes, back.key]).toEqual([key, m.key])
  }
})
