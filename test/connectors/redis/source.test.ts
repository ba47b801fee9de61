import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import redisSource from '../../../src/connectors/redis/source.ts'
import type { Batch, Message, Position, Source } from '../../../src/contract/plugin.ts'
import { fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { readAll, sourceConformance } from '../../conformance/source.ts'
import { cli, redisUrl } from '../../support/redis.ts'
import { startProxy } from '../../support/tcp-proxy.ts'
import { unique } from '../../support/unique.ts'
import { driver, freshState, kinds, sourceConfig } from './make.ts'
import { eventually } from '../../support/eventually.ts'

const { signal } = new AbortController()
const text = (m: Message): string => String(m.payload)

/** An endless source ends here after `count` records of the input. */
function ending(source: Source, count: () => number): Source {
  let left = count()
  const read = source.read.bind(source)
  const seek = source.seek!.bind(source)
  return {
    ...source,
    async read(s) {
      s.throwIfAborted()
      if (left <= 0) return null
      const batch = (await read(s))!
      left -= batch.messages.length
      return batch
    },
    async seek(lane, position) {
      left = count()
      await seek(lane, position)
    },
  }
}

describe.each(kinds)('redis source: %s', (name, url) => {
  sourceConformance(`redis list (${name})`, {
    plugin: redisSource,
    async prepare(records) {
      const list = unique('list')
      const d = await driver({ url })
      await d.run(records.map(r => ['RPUSH', list, r] as const))
      return { config: sourceConfig({ url, list }) }
    },
  })

  sourceConformance(`redis sorted_set (${name})`, {
    plugin: redisSource,
    async prepare(records) {
      const sorted_set = unique('zset')
      const d = await driver({ url })
      await d.run(records.map((r, i) => ['ZADD', sorted_set, i, r] as const))
      return { config: sourceConfig({ url, sorted_set }) }
    },
  })

  sourceConformance(`redis hash (${name})`, {
    plugin: redisSource,
    async prepare(records) {
      const hash = unique('hash')
      const d = await driver({ url })
      await d.run(records.map((r, i) => ['HSET', hash, String(i), r] as const))
      return { config: sourceConfig({ url, hash }) }
    },
  })

  let published: readonly string[] = []
  sourceConformance(`redis patterns (${name})`, {
    plugin: { ...redisSource, replayable: false },
    async prepare(records) {
      published = records
      freshState()
      return { config: sourceConfig({ url, patterns: [`${unique('ch')}.*`] }) }
    },
    create(config, ctx) {
      const source = redisSource.create(config, ctx) as Source
      const records = published
      return ending(
        {
          ...source,
          async open(s) {
            await source.open!(s)
            const d = await driver({ url })
            await d.run(records.map(r => ['PUBLISH', config.patterns![0].replace('*', 'x'), r] as const))
          },
        },
        () => records.length,
      )
    },
  })

  let streamed: readonly string[] = []
  let firstLeft = 0
  sourceConformance(`redis streams (${name})`, {
    plugin: { ...redisSource, replayable: false },
    async prepare(records) {
      streamed = records
      const stream = unique('stream')
      const d = await driver({ url })
      await d.run(records.map(r => ['XADD', stream, '*', 'value', r] as const))
      return { config: sourceConfig({ url, streams: [stream], group: 'g', field: 'value', consumer: 'a' }) }
    },
    create(config, ctx) {
      firstLeft = streamed.length
      return ending(redisSource.create(config, ctx) as Source, () => firstLeft)
    },
  })

  test('last: the newest entries of a key, in order, with scores or fields as keys', async () => {
    const d = await driver({ url })
    const key = unique('k')
    await d.run([
      ['ZADD', `${key}:z`, 3, 'c', 1, 'a', 2, 'b'],
      ['RPUSH', `${key}:l`, 'a', 'b', 'c'],
      ['HSET', `${key}:h`, '10', 'c', '9', 'b', '1', 'a'],
    ])
    for (const [config, keys] of [
      [{ sorted_set: `${key}:z` }, ['2', '3']],
      [{ list: `${key}:l` }, [null, null]],
      [{ hash: `${key}:h` }, ['9', '10']],
      [{ snapshot: `${key}:z` }, ['2', '3']],
      [{ snapshot: `${key}:l` }, [null, null]],
      [{ snapshot: `${key}:h` }, ['9', '10']],
    ] as const) {
      const { source } = await open({ url, last: 2, format: 'text', ...config })
      const messages = (await readAll(source)).flatMap(b => b.messages)
      expect(messages.map(text)).toEqual(['b', 'c'])
      expect(messages.map(m => m.key)).toEqual(keys)
      await source.close!()
    }
  })

  test('a key of another type is an error that names both types; a missing key is empty', async () => {
    const d = await driver({ url })
    const key = unique('k')
    await d.run([['RPUSH', key, 'a']])
    const { source } = await open({ url, sorted_set: key })
    await expect(source.read(signal)).rejects.toThrow(/is a list, not a sorted_set: read it as list/)
    const { source: empty } = await open({ url, hash: unique('none') })
    expect(await empty.read(signal)).toBe(null)
  })

  test('Pub/Sub: the channel is the topic, the wildcard match is the key, the bytes are unchanged', async () => {
    const d = await driver({ url })
    const prefix = unique('ticks')
    const { source } = await open({ url, patterns: [`${prefix}.*`] })
    const bytes = Buffer.from([0xff, 0, 0x7b])
    await d.run([
      ['PUBLISH', `${prefix}.BTC.USDT`, bytes],
      ['PUBLISH', `${prefix}.ETHUSDT`, '{}'],
      ['PUBLISH', 'other', '{}'],
    ])
    const messages = await readCount(source, 2)
    expect(messages.map(m => [m.origin!.topic, m.key, m.payload])).toEqual([
      [`${prefix}.BTC.USDT`, 'BTC.USDT', bytes],
      [`${prefix}.ETHUSDT`, 'ETHUSDT', Buffer.from('{}')],
    ])
    await source.close!()
  })

  test('Pub/Sub: overlapping patterns deliver a message once, with the key of the first pattern', async () => {
    const d = await driver({ url })
    const prefix = unique('o')
    const { source } = await open({ url, patterns: [`${prefix}.*`, `${prefix}.a*`, `${prefix}*`, `${prefix}.a1`], format: 'text' })
    const sent = Array.from({ length: 30 }, (_, i) => [i % 3 === 0 ? '.a1' : i % 3 === 1 ? '.b' : '-c', String(i >> 1)] as const)
    await d.run(sent.map(([name, value]) => ['PUBLISH', prefix + name, value] as const))
    const messages = await readCount(source, 30)
    const key = { '.a1': 'a1', '.b': 'b', '-c': '-c' }
    expect(messages.map(m => [m.key, text(m)])).toEqual(sent.map(([name, value]) => [key[name], value]))
    await d.run([['PUBLISH', `${prefix}.a1`, 'end']])
    expect((await readCount(source, 1)).map(text)).toEqual(['end'])
    expect(source.caughtUp!('')).toBe(true)
    await source.close!()
  })

  test('a hash is read in one order, whatever the order of its fields: numbers by value, then text', async () => {
    const d = await driver({ url })
    const sorted = [
      '-9007199254740993',
      '-9007199254740992',
      '9',
      '10',
      '1e2',
      '9007199254740992',
      '9007199254740993',
      '1x',
      '9x',
      'a',
      'é',
    ]
    for (const fields of [sorted, sorted.toReversed(), ['1x', '9', '10', ...sorted]]) {
      const hash = unique('h')
      await d.run(fields.map(f => ['HSET', hash, f, f] as const))
      const { source } = await open({ url, hash, format: 'text' })
      expect((await readCount(source, sorted.length)).map(text)).toEqual(sorted)
      await source.close!()
    }
  })

  test('streams: an entry may have a field several times', async () => {
    const d = await driver({ url })
    const [all, one] = [unique('s'), unique('s')]
    for (const stream of [all, one]) await d.run([['XADD', stream, '*', 'a', '1', 'b', 'x', 'a', '2', 'a', '1']])
    const { source } = await open({ url, streams: [all] })
    expect((await readCount(source, 1)).map(text)).toEqual(['{"a":["1","2","1"],"b":"x"}'])
    await source.close!()
    const { source: field } = await open({ url, streams: [one], field: 'a' })
    const [m] = await readCount(field, 1)
    expect(m.failure!.message).toMatch(/has the field "a" 3 times$/)
    expect(text(m)).toBe('{"a":["1","2","1"],"b":"x"}')
    await field.close!()
  })

  test('streams: an entry with bytes that are not UTF-8 is not decoded as other text; its dead letter has all bytes', async () => {
    const d = await driver({ url })
    const stream = unique('s')
    const binary = Buffer.from([0x61, 0xff])
    await d.run([
      ['XADD', stream, '*', 'a', '12345678901234567.89', 'b', binary],
      ['XADD', stream, '*', binary, '1.10', Buffer.from([0xfe]), '2'],
      ['XADD', stream, '*', 'é', '\0'],
    ])
    const { source } = await open({ url, streams: [stream] })
    const all = await readCount(source, 3)
    await source.close!()
    expect(all.map(text)).toEqual([
      '{"a":"12345678901234567.89","b":"\ufffd0x61ff"}',
      '{"\ufffd0x61ff":"1.10","\ufffd0xfe":"2"}',
      '{"é":"\\u0000"}',
    ])
    const problem = expect.stringContaining('has a field with bytes that are not UTF-8')
    expect(all.map(m => m.failure?.message)).toEqual([problem, problem, undefined])
  })

  test('Pub/Sub: a restored lane reads uncommitted messages once more', async () => {
    const d = await driver({ url })
    const prefix = unique('c')
    const { source } = await open({ url, patterns: [`${prefix}*`], format: 'text' })
    await d.run(Array.from({ length: 10 }, (_, i) => ['PUBLISH', prefix, String(i)] as const))
    const first = await readCount(source, 10)
    await source.commit!('', first[3].offset + 1)
    await source.seek!('', undefined)
    expect((await readCount(source, 6)).map(text)).toEqual(['4', '5', '6', '7', '8', '9'])
    await source.close!()
  })

  test('streams: uncommitted entries are read again by the same consumer, and by another one after it has died', async () => {
    const d = await driver({ url })
    const stream = unique('s')
    await d.run(Array.from({ length: 25 }, (_, i) => ['XADD', stream, '*', 'v', String(i)] as const))
    const config = { url, streams: [stream], group: 'g', field: 'v', format: 'text', batch_size: 10 } satisfies Parameters<
      typeof sourceConfig
    >[0]
    const { source: a, ctx } = await open({ ...config, consumer: 'a' })
    const lane = ctx.lanes[0].id
    const batches = [(await a.read(signal))!, (await a.read(signal))!]
    await a.commit!(lane, batches[0].position)
    await a.seek!(lane, batches[0].position)
    expect((await readCount(a, 15)).map(text)).toEqual(range(10, 25))
    await a.close!()

    const { source: again } = await open({ ...config, consumer: 'a' })
    expect((await readCount(again, 15)).map(text)).toEqual(range(10, 25))
    await again.close!()

    await d.run([['XADD', stream, '*', 'other', 'x']])
    const { source: b, ctx: other } = await open({ ...config, consumer: 'b', claim_idle: 1 })
    await sleep(5)
    const got: Batch[] = []
    while (got.flatMap(g => g.messages).length < 16) got.push((await b.read(signal))!)
    const messages = got.flatMap(g => g.messages)
    expect(messages.filter(m => !m.failure).map(text)).toEqual(range(10, 25))
    expect(messages.filter(m => m.failure).map(m => m.failure!.message)).toEqual([expect.stringContaining('has no field "v"')])
    expect(messages.filter(m => m.failure).map(text)).toEqual(['{"other":"x"}'])
    await b.commit!(other.lanes[0].id, got.at(-1)!.position)
    const [pending] = await d.run([['XREADGROUP', 'GROUP', 'g', 'b', 'STREAMS', stream, '0']])
    expect(pending).toEqual([[Buffer.from(stream), []]])
    await b.close!()
  })

  test('streams: the position comes from the external checkpoint, not from acknowledgments', async () => {
    const d = await driver({ url })
    const stream = unique('s')
    await d.run(Array.from({ length: 30 }, (_, i) => ['XADD', stream, '*', 'v', String(i)] as const))
    const config = { url, streams: [stream], group: 'g', field: 'v', format: 'text', batch_size: 10, consumer: 'a' } satisfies Parameters<
      typeof sourceConfig
    >[0]
    const { source: a, ctx } = await open(config)
    const [first, second] = [(await a.read(signal))!, (await a.read(signal))!]
    await a.read(signal)
    expect(first.messages).toHaveLength(10)
    await a.close!()
    // Saved, but the process died before it could acknowledge.
    const { source: b } = await open(config, new Map([[ctx.lanes[0].id, second.position]]))
    expect((await readCount(b, 10)).map(text)).toEqual(range(20, 30))
    await b.close!()
  })

  test('streams: all fields as one object; several streams are several lanes; a deleted stream is recreated', async () => {
    const d = await driver({ url })
    const streams = [unique('s'), unique('s')]
    await d.run([
      ['XADD', streams[0], '5-1', 'a', '1', '__proto__', 'x'],
      ['XADD', streams[1], '*', 'a', '2', 'sym', 'BTC'],
    ])
    const { source, ctx } = await open({ url, streams, key_field: 'sym' })
    const messages = await readCount(source, 2)
    expect(messages.map(m => [JSON.stringify(m.value), m.key]).toSorted()).toEqual([
      ['{"a":"1","__proto__":"x"}', null],
      ['{"a":"2","sym":"BTC"}', 'BTC'],
    ])
    expect(messages.find(m => m.key === null)).toMatchObject({ offset: 5 * 4096 + 1, time: 5 })
    expect(ctx.lanes.map(l => l.topic)).toEqual(streams)
    await d.run([['DEL', streams[0]]])
    const next = readCount(source, 1)
    await eventually(async () => {
      const [reply] = await d.run([['TYPE', streams[0]]])
      expect(String(reply)).toBe('stream')
    })
    await d.run([['XADD', streams[0], '*', 'a', '3']])
    expect((await next).map(text)).toEqual(['{"a":"3"}'])
    await source.close!()
  })
})

describe('streams: entries that were deleted before they were read', () => {
  const [[, url]] = kinds
  const use = async () => {
    const d = await driver({ url })
    const stream = unique('s')
    const config = { url, streams: [stream], group: 'g', field: 'v', format: 'text', batch_size: 10, consumer: 'a' } satisfies Parameters<
      typeof sourceConfig
    >[0]
    return {
      stream,
      config,
      run: (...command: readonly (string | number)[]) => d.run([command as [string, ...string[]]]),
      add: (from: number, to: number) => d.run(range(from, to).map(v => ['XADD', stream, '*', 'v', v] as const)),
    }
  }
  /** Reads until no entry is left. @returns the entries and the gaps */
  const drained = async (source: Source, lane: string): Promise<(string | Batch['gap'])[]> => {
    const got: (string | Batch['gap'])[] = []
    while (source.caughtUp!(lane) === false) {
      const batch = (await source.read(signal))!
      if (batch.gap) got.push(batch.gap)
      got.push(...batch.messages.map(text))
      await source.commit!(lane, batch.position)
    }
    return got
  }
  const lost = (n: number) => ({ lost: n, reason: expect.stringMatching(new RegExp(`^${n} entries of stream .* before`)) })

  test('a stream trimmed beyond the group position, at the start and later: each gap is reported once', async () => {
    const w = await use()
    await w.add(0, 10)
    const first = await open(w.config)
    const lane = first.ctx.lanes[0].id
    await first.source.commit!(lane, (await first.source.read(signal))!.position)
    await first.source.close!()
    await w.add(10, 40)
    await w.run('XTRIM', w.stream, 'MAXLEN', '15')
    // Nothing is read for it: a run that stops leaves it to the next one.
    const stopped = await open(w.config)
    expect((await stopped.source.read(signal))!.gap).toEqual(lost(15))
    await stopped.source.close!()
    const { source } = await open(w.config)
    const batches = [(await source.read(signal))!, (await source.read(signal))!]
    expect(batches.map(b => [b.gap, b.messages.map(text)])).toEqual([
      [lost(15), []],
      [undefined, range(25, 35)],
    ])
    await w.add(40, 60)
    await w.run('XTRIM', w.stream, 'MAXLEN', '12')
    expect(await drained(source, lane)).toEqual([lost(13), ...range(48, 60)])
    await source.close!()
  })

  test('deleting entries that were read is not a gap', async () => {
    const w = await use()
    await w.add(0, 25)
    for (const gone of [['XTRIM', w.stream, 'MAXLEN', '0'], ['XTRIM', w.stream, 'MAXLEN', '3'], ['DEL']]) {
      const { source, ctx } = await open(w.config)
      const lane = ctx.lanes[0].id
      expect((await drained(source, lane)).filter(v => typeof v !== 'string')).toEqual([])
      await source.close!()
      const [entries] = (await w.run('XRANGE', w.stream, '-', '+')) as [[Buffer][]]
      if (gone[0] === 'DEL') await w.run('XDEL', w.stream, ...entries.slice(0, 5).map(([id]) => String(id)))
      else await w.run(...gone)
      await w.add(0, 25)
    }
    const { source, ctx } = await open(w.config)
    expect((await drained(source, ctx.lanes[0].id)).filter(v => typeof v !== 'string')).toEqual([])
    await source.close!()
  })

  test('entries trimmed after delivery and before acknowledgment are a gap until committed', async () => {
    const w = await use()
    await w.add(0, 10)
    const { source, ctx } = await open(w.config)
    const lane = ctx.lanes[0].id
    await source.read(signal)
    await w.run('XTRIM', w.stream, 'MAXLEN', '4')
    for (let i = 0; i < 2; i++) {
      await source.seek!(lane, undefined)
      const batch = (await source.read(signal))!
      expect([batch.gap, batch.messages.map(text)]).toEqual([lost(6), range(6, 10)])
      if (i === 1) await source.commit!(lane, batch.position)
    }
    expect(await w.run('XPENDING', w.stream, 'g')).toEqual([[0, null, null, null]])
    await source.close!()
  })

  test('a stream that was deleted during a read and before a start from a checkpoint', async () => {
    const w = await use()
    await w.add(0, 5)
    const { source, ctx } = await open(w.config)
    const lane = ctx.lanes[0].id
    const { position } = (await source.read(signal))!
    await source.commit!(lane, position)
    await w.run('DEL', w.stream)
    expect((await source.read(signal))!.gap).toEqual({ reason: expect.stringContaining('was deleted: its unread entries are lost') })
    await source.close!()
    await w.run('DEL', w.stream)
    const again = await open(w.config, new Map([[lane, position]]))
    expect((await again.source.read(signal))!.gap).toEqual({ reason: expect.stringContaining('was deleted') })
    await again.source.close!()
  })
})

test('streams: entries of a reply that was lost with its connection precede newer ones', async () => {
  const stream = unique('stream')
  const server = new URL(redisUrl())
  const proxy = await startProxy(`127.0.0.1:${server.port}`)
  try {
    const url = `redis://${proxy.address}`
    const { source } = await open({ url, streams: [stream], group: 'g', field: 'v', format: 'text', consumer: 'a' })
    const add = (value: string): Promise<string> => cli(['XADD', stream, '*', 'v', value])
    const pending = async (): Promise<number> => Number((await cli(['XPENDING', stream, 'g'])).split('\n')[0])
    await add('1')
    expect((await readCount(source, 1)).map(text)).toEqual(['1'])
    // The read waits at the server; its answer gets no further than the proxy.
    const reading = source.read(signal).catch((error: Error) => error)
    await eventually(async () => expect(await cli(['CLIENT', 'LIST'])).toMatch(/cmd=xreadgroup/))
    proxy.freeze()
    await add('2')
    await eventually(async () => expect(await pending()).toBe(2))
    proxy.cut()
    await add('3')
    proxy.restore()
    expect(await reading).toBeInstanceOf(Error)
    const next = (): Promise<Message[]> => readCount(source, 1).catch(() => sleep(20).then(next))
    const seen = await next()
    while (seen.length < 2) seen.push(...(await next()))
    expect(seen.map(text)).toEqual(['2', '3'])
    await source.close!()
  } finally {
    await proxy.stop()
  }
})

test.each([
  [{ url: 'embedded' }, 'set one of patterns, streams, snapshot, list, hash, sorted_set'],
  [{ list: 'a', hash: 'b' }, 'set either list or hash, not both'],
  [{ patterns: ['a'], group: 'g' }, 'works with streams, not with patterns'],
  [{ patterns: ['a'], key_from_channel: '(' }, 'not a regular expression'],
  [{ patterns: ['a'], key_from_channel: '^(?=a)(.*)$' }, 'lookaround is not supported'],
  [{ patterns: ['a'], key_from_channel: '^ticks' }, 'a regular expression with a group'],
  [{ list: 'a', url: 'localhost:6379' }, 'must start with redis://'],
  [{ list: 'a', url: 'redis://a,b' }, 'must contain one host only'],
  [{ list: 'a', url: 'redis+sentinel://a:1' }, 'must contain the name of the master'],
  [{ list: 'a', url: 'redis://a:99999' }, 'must contain host:port'],
  [{ list: 'a', url: 'redis://a/x' }, 'with the number of a database'],
  [{ list: 'a', url: 'redis+cluster://a/1' }, 'a cluster has only one'],
  [{ list: 'a', url: 'redis://a', tls_ca: 'x' }, 'must start with rediss://'],
])('check: %j', (config, message) => {
  expect(redisSource.validateConfig!(sourceConfig(config)).map(p => p.message)).toEqual([expect.stringContaining(message)])
})

async function open(config: Parameters<typeof sourceConfig>[0], positions?: ReadonlyMap<string, Position>) {
  const ctx = fakeSourceContext(unique('redis'), positions)
  const source = redisSource.create(sourceConfig(config), ctx) as Source
  await source.open!(signal)
  return { source, ctx }
}

async function readCount(source: Source, count: number): Promise<Message[]> {
  const messages: Message[] = []
  while (messages.length < count) messages.push(...(await source.read(signal))!.messages)
  return messages
}

const range = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => String(from + i))
