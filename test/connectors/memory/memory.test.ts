import { describe, expect, test } from 'vitest'
import type { MemorySourceConfig } from '../../../src/generated/config-types.ts'
import { channel, MemoryChannel, removeChannel } from '../../../src/connectors/memory/channel.ts'
import memorySink from '../../../src/connectors/memory/sink.ts'
import memorySource from '../../../src/connectors/memory/source.ts'
import { Message, type Origin } from '../../../src/contract/plugin.ts'
import { InputAccount, useLimits } from '../../../src/kit/limits.ts'
import { fakeContext, fakeSourceContext, writeContext } from '../../../src/testing/conformance/context.ts'
import { sinkConformance } from '../../conformance/sink.ts'
import { readAll, sourceConformance } from '../../conformance/source.ts'

let count = 0
const fresh = () => `channel ${count++}`
const { signal } = new AbortController()

sourceConformance<MemorySourceConfig>('memory', {
  plugin: memorySource,
  async prepare(records) {
    const name = fresh()
    channel(name).push(...records.map(payload => ({ payload, time: 1 })))
    channel(name).end()
    return { config: { channel: name, format: 'json', batch_size: 50 } }
  },
  prepareEndless: async () => ({ channel: fresh(), format: 'json', batch_size: 1 }),
})

sinkConformance('memory', {
  plugin: memorySink,
  async prepare() {
    const name = fresh()
    return { config: { channel: name }, read: async () => channel(name).records.map(r => String(r.payload)) }
  },
})

describe('memory', () => {
  test('a pushed record arrives with key, time, headers and bytes; push and end wake a waiting read', async () => {
    const name = fresh()
    const source = memorySource.create({ channel: name, format: 'json', batch_size: 10 }, fakeSourceContext('memory'))
    await source.open!(signal)
    const read = source.read(signal)
    channel(name).push({ value: { a: 1 }, key: 'k', time: 5, headers: [['h', 'x']] }, {})
    const batch = (await read)!
    expect(batch.messages.map(m => [m.payload?.toString(), m.key, m.time, m.headers, m.offset])).toEqual([
      ['{"a":1}', 'k', 5, [['h', 'x']], 0],
      [undefined, null, 0, undefined, 1],
    ])
    expect([batch.position, batch.lag, source.caughtUp!(batch.lane)]).toEqual([[channel(name).id, 2], 0, true])
    const end = source.read(signal)
    channel(name).end()
    expect(await end).toBe(null)
  })

  test('records of a sink can be taken once, and read again by a source: bytes, key bytes and headers unchanged', async () => {
    const name = fresh()
    const sink = memorySink.create({ channel: name }, fakeContext('memory'))
    const origin: Origin = { lane: 'x', source: 'x', format: 'json' }
    const key = Buffer.from([0xff, 0x00])
    await sink.write([Message.fromRecord(Buffer.from('{ }'), key, 9, [['h', null]], 3, origin), new Message(null, null, 1)], writeContext())
    const taken = channel(name).take()
    expect(taken.map(r => [r.payload?.toString() ?? null, r.keyBytes, r.time, r.headers])).toEqual([
      ['{ }', key, 9, [['h', null]]],
      [null, null, 1, undefined],
    ])
    expect(channel(name).take()).toEqual([])
    channel(name).end()
    const source = memorySource.create({ channel: name, format: 'bytes', batch_size: 10 }, fakeSourceContext('memory'))
    await source.open!(signal)
    expect((await readAll(source))[0].messages.map(m => m.value)).toEqual([Buffer.from('{ }'), null])
  })

  test('a removed channel starts empty', () => {
    const name = fresh()
    channel(name).push({ value: 1 })
    removeChannel(name)
    expect(channel(name).records).toEqual([])
  })
})

describe('a channel of a program counts in limits.input', () => {
  const MiB = 1024 * 1024
  const record = (size: number) => ({ payload: Buffer.alloc(size) })

  test('a sender waits for bytes as it waits for records; one record always fits, and 1 MiB whatever the others hold', async () => {
    const release = useLimits({ input: 4 * MiB })
    const others = new InputAccount()
    try {
      const full = new MemoryChannel()
      let sent = 0
      const sending = Array.from({ length: 6 }, () => full.send(record(MiB)).then(() => void sent++))
      await new Promise(resolve => setImmediate(resolve))
      expect(sent).toBe(3)
      expect(full.take()).toHaveLength(3)
      await Promise.all(sending)
      expect(full.take()).toHaveLength(3)
      await full.send(record(10 * MiB))
      full.take()

      others.add(4 * MiB)
      const small = new MemoryChannel()
      await small.send([record(MiB / 4), record(MiB / 4), record(MiB / 4)])
      const late = small.send(record(MiB / 2))
      expect(await Promise.race([late.then(() => 'sent'), new Promise(resolve => setImmediate(() => resolve('waits')))])).toBe('waits')
      small.take()
      await late
      small.take()
      others.add(-4 * MiB)
      expect(others.fits(4 * MiB)).toBe(true)
    } finally {
      others.add(-others.bytes)
      release()
    }
  })
})
