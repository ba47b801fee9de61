import { describe, expect, test } from 'vitest'
import redisSink from '../../../src/connectors/redis/sink.ts'
import { BatchError, EnvironmentError, Message, type Sink } from '../../../src/contract/plugin.ts'
import { fakeContext, writeContext } from '../../../src/testing/conformance/context.ts'
import { sinkConformance } from '../../conformance/sink.ts'
import { unique } from '../../support/unique.ts'
import type { Reply, ReplyError } from '../../../src/connectors/redis/driver.ts'
import { driver, kinds, sinkConfig } from './make.ts'

const texts = (reply: Reply | ReplyError): string[] =>
  (reply as Reply[]).map(r => (Array.isArray(r) ? (r[1] as Buffer[])[1] : r)!.toString())

describe.each(kinds)('redis sink: %s', (name, url) => {
  const one = async (...command: [string, ...(string | number)[]]): Promise<Reply | ReplyError> =>
    (await (await driver({ url })).run([command]))[0]

  sinkConformance(`redis list (${name})`, {
    plugin: redisSink,
    async prepare() {
      const list = unique('l')
      return { config: sinkConfig({ url, list }), read: async () => texts(await one('LRANGE', list, 0, -1)) }
    },
  })
  sinkConformance(`redis stream (${name})`, {
    plugin: redisSink,
    async prepare() {
      const stream = unique('s')
      return { config: sinkConfig({ url, stream }), read: async () => texts(await one('XRANGE', stream, '-', '+')) }
    },
  })

  test('hash, string and sorted set are overwritten; a tombstone deletes', async () => {
    const key = unique('k')
    const hash = await open({ url, hash: `${key}:h`, hash_field: 'symbol' })
    await hash.write([message({ symbol: 'A', v: 1 }), message({ symbol: 'B', v: 1 }), message({ symbol: 'A', v: 2 })], writeContext())
    expect(((await one('HGETALL', `${key}:h`)) as Buffer[]).map(String)).toEqual(['A', '{"symbol":"A","v":2}', 'B', '{"symbol":"B","v":1}'])
    const string = await open({ url, string: `${key}:<@key>`, ttl: 60_000 })
    await string.write(
      [new Message({ v: 1 }, 'x'), new Message({ v: 2 }, 'x'), new Message({ v: 2 }, 'y'), new Message(null, 'y')],
      writeContext(),
    )
    expect([String(await one('GET', `${key}:x`)), await one('GET', `${key}:y`)]).toEqual(['{"v":2}', null])
    expect(await one('PTTL', `${key}:x`)).toBeGreaterThan(1000)
    const zset = await open({ url, sorted_set: `${key}:<symbol>`, score: 'start', unique_score: true, max_length: 3 })
    const bars = [1, 2, 3, 4].map(start => message({ symbol: 'A', start, close: 1 }))
    await zset.write([...bars, message({ symbol: 'B', start: 1 })], writeContext())
    await zset.write([...bars.slice(1), message({ symbol: 'A', start: 3, close: 9 })], writeContext())
    expect(texts(await one('ZRANGE', `${key}:A`, 0, -1))).toEqual([
      '{"symbol":"A","start":2,"close":1}',
      '{"symbol":"A","start":3,"close":9}',
      '{"symbol":"A","start":4,"close":1}',
    ])
    expect(texts(await one('ZRANGE', `${key}:B`, 0, -1))).toHaveLength(1)
  })

  test('lists and streams are trimmed to their length; a stream entry has fields', async () => {
    const key = unique('k')
    const left = await open({ url, list: `${key}:l`, push: 'left', max_length: 2 })
    await left.write(
      [1, 2, 3].map(n => message({ n })),
      writeContext(),
    )
    expect(texts(await one('LRANGE', `${key}:l`, 0, -1))).toEqual(['{"n":3}', '{"n":2}'])
    const fields = await open({ url, stream: `${key}:s`, entry: 'fields' })
    const bytes = Buffer.from('{"p":1.10,"id":9007199254740993,"b":[1.5]}')
    const origin = { lane: 'l', source: 's', topic: 't', partition: 0, format: 'json' } as const
    const written = Message.fromRecord(bytes, null, 0, undefined, 0, origin)
    await fields.write([message({ a: 'x', b: [1], c: 2 }), written], writeContext())
    const entries = (await one('XRANGE', `${key}:s`, '-', '+')) as [Buffer, Buffer[]][]
    expect(entries.map(([, entry]) => entry.map(String))).toEqual([
      ['a', 'x', 'b', '[1]', 'c', '2'],
      ['p', '1.10', 'id', '9007199254740993', 'b', '[1.5]'],
    ])
  })

  test('invalid messages are rejected individually, the others are written', async () => {
    const key = unique('k')
    const zset = await open({ url, sorted_set: key, score: 'start' })
    const batch = [
      message({ start: 1 }),
      message({}),
      message({ start: 'x' }),
      message({ start: Number.POSITIVE_INFINITY }),
      message(null),
      message({ start: '2' }),
    ]
    const error = await zset.write(batch, writeContext()).catch(e => e)
    expect(error).toBeInstanceOf(BatchError)
    expect([...(error as BatchError).failed.keys()]).toEqual([1, 2, 3, 4])
    expect(texts(await one('ZRANGE', key, 0, -1))).toEqual(['{"start":1}', '{"start":"2"}'])
  })

  test('a score as text must be a decimal number, and is checked for rounding as a number is', async () => {
    const sink = await open({ url, sorted_set: unique('score'), score: 'id', unique_score: true })
    const ids = ['0x10', '0b1', '+9007199254740993', '09007199254740993', '1e400', '', ' 7 ', '1.50']
    const error: unknown = await sink
      .write(
        ids.map(id => message({ id })),
        writeContext(),
      )
      .then(
        () => undefined,
        (e: unknown) => e,
      )
    await sink.close!()
    expect(
      [...(error as BatchError).failed].map(([i, e]) => [ids[i], /must be a number|stores scores as doubles/.exec(e.message)?.[0]]),
    ).toEqual([
      ['0x10', 'must be a number'],
      ['0b1', 'must be a number'],
      ['+9007199254740993', 'must be a number'],
      ['09007199254740993', 'stores scores as doubles'],
      ['1e400', 'must be a number'],
      ['', 'must be a number'],
    ])
  })

  test('a score that Redis would round replaces no other record; without unique_score it is logged', async () => {
    const key = unique('k')
    const row = (id: string) =>
      Message.fromRecord(Buffer.from(`{"id":${id}}`), null, 0, undefined, 0, { lane: 'l', source: 's', format: 'json' })
    const ids = ['9007199254740992', '9007199254740993', '1234567890123456800', '1234567890123456801', '"9007199254740993"', '1.10']
    const unique_ = await open({ url, sorted_set: key, score: 'id', unique_score: true })
    const error = await unique_.write(ids.map(row), writeContext()).catch(e => e)
    expect([...(error as BatchError).failed].map(([i, e]) => [i, /stores scores as doubles/.test(e.message)])).toEqual([
      [1, true],
      [3, true],
      [4, true],
    ])
    expect(texts(await one('ZRANGE', key, 0, -1))).toEqual(['{"id":1.10}', '{"id":9007199254740992}', '{"id":1234567890123456800}'])
    const context = fakeContext('redis')
    const sink = redisSink.create(sinkConfig({ url, sorted_set: `${key}:all`, score: 'id' }), context) as Sink
    await sink.open!(new AbortController().signal)
    await sink.write(ids.map(row), writeContext())
    expect(texts(await one('ZRANGE', `${key}:all`, 0, -1))).toHaveLength(6)
    expect(context.warnings).toMatchObject([
      { level: 'warn', message: expect.stringMatching(/9007199254740993 is ordered as 9007199254740992/) },
    ])
  })

  test('a key of another type stops the pipeline; if its name comes from messages, that message is dead-lettered', async () => {
    const key = unique('k')
    await one('RPUSH', `${key}:A`, 'x')
    const fixed = await open({ url, hash: `${key}:A` })
    await expect(fixed.write([new Message({}, 'f')], writeContext())).rejects.toThrow(EnvironmentError)
    const named = await open({ url, hash: `${key}:<symbol>` })
    const error = await named.write([new Message({ symbol: 'A' }, 'f'), new Message({ symbol: 'B' }, 'f')], writeContext()).catch(e => e)
    expect([...(error as BatchError).failed]).toEqual([
      [0, expect.objectContaining({ message: expect.stringContaining('has another type') })],
    ])
    expect(String(await one('TYPE', `${key}:B`))).toBe('hash')
  })

  test('on_foreign_key: refuse writes only to keys that the sink has created', async () => {
    const key = unique('k')
    const refuse = { url, on_foreign_key: 'refuse' } as const
    await one('ZADD', `${key}:live`, 1, 'theirs')
    await expect(open({ ...refuse, sorted_set: `${key}:live`, score: 's', unique_score: true })).rejects.toMatchObject({
      code: 'PIPE_ENVIRONMENT',
      message: expect.stringMatching(
        new RegExp(`key ${key}:live was created by another program.*redis-cli SET '\\{${key}:live\\}:made-by' test$`),
      ),
    })
    expect(texts(await one('ZRANGE', `${key}:live`, 0, -1))).toEqual(['theirs'])
    // Its own, again and again, by a new process, and when the key has expired meanwhile.
    for (const s of [1, 2, 2]) {
      const sink = await open({ ...refuse, sorted_set: `${key}:own`, score: 's', unique_score: true })
      await sink.write([message({ s })], writeContext())
    }
    await one('DEL', `${key}:own`)
    await (await open({ ...refuse, sorted_set: `${key}:own`, score: 's' })).write([message({ s: 3 })], writeContext())
    expect(texts(await one('ZRANGE', `${key}:own`, 0, -1))).toEqual(['{"s":3}'])
    // Adopted, as the message recommends.
    await one('SET', `{${key}:live}:made-by`, 'test')
    await (await open({ ...refuse, sorted_set: `${key}:live`, score: 's' })).write([message({ s: 9 })], writeContext())
    expect(texts(await one('ZRANGE', `${key}:live`, 0, -1))).toEqual(['theirs', '{"s":9}'])
    // Names that messages give.
    await one('SET', `${key}:A`, 'theirs')
    const named = await open({ ...refuse, string: `${key}:<symbol>` })
    const error = await named.write([message({ symbol: 'A' }), message({ symbol: 'B' })], writeContext()).catch(e => e as BatchError)
    expect([...(error as BatchError).failed.keys()]).toEqual([0])
    expect([String(await one('GET', `${key}:A`)), String(await one('GET', `${key}:B`))]).toEqual(['theirs', '{"symbol":"B"}'])
  })

  async function open(config: Parameters<typeof sinkConfig>[0]): Promise<Sink> {
    const sink = redisSink.create(sinkConfig(config), fakeContext('redis')) as Sink
    await sink.open!(new AbortController().signal)
    return sink
  }
})

test.each([
  [{}, 'set one of channel'],
  [{ list: 'a', hash: 'b' }, 'set either list or hash, not both'],
  [{ sorted_set: 'a' }, 'needs score'],
  [{ list: 'a', score: 'b' }, 'works with sorted_set, not with list'],
  [{ channel: 'a', ttl: 5 }, 'not with channel'],
  [{ channel: 'a', on_foreign_key: 'refuse' }, 'works with keys, not with a channel'],
  [{ channel: '<@symbol>' }, 'write <@key>, <@topic>'],
])('check: %j', (config, message) => {
  expect(redisSink.validateConfig!(sinkConfig(config as Parameters<typeof sinkConfig>[0])).map(p => p.message)).toEqual([
    expect.stringContaining(message),
  ])
})

const message = (value: unknown): Message => new Message(value)
