/** One suite for both drivers: the embedded store behaves like Redis. */
import { describe, expect, test } from 'vitest'
import { type Command, type Driver, type Reply, ReplyError } from '../../../src/connectors/redis/driver.ts'
import { unique } from '../../support/unique.ts'
import { driver, kinds } from './make.ts'
import { eventually } from '../../support/eventually.ts'

const plain = (reply: Reply | ReplyError): unknown =>
  reply instanceof ReplyError
    ? `-${reply.kind}`
    : Buffer.isBuffer(reply)
      ? reply.toString()
      : Array.isArray(reply)
        ? reply.map(plain)
        : reply
const run = async (d: Driver, ...commands: Command[]): Promise<unknown[]> => (await d.run(commands)).map(plain)

describe.each(kinds)('redis driver: %s', (_, url) => {
  test('lists, hashes, sorted sets and strings', async () => {
    const d = await driver({ url })
    const k = unique('k')
    expect(
      await run(
        d,
        ['RPUSH', k, 'a', 'b', 'c'],
        ['LPUSH', k, 'z'],
        ['LRANGE', k, 0, -1],
        ['LRANGE', k, -2, -1],
        ['LTRIM', k, -3, -1],
        ['LRANGE', k, 0, -1],
        ['LLEN', k],
        ['TYPE', k],
      ),
    ).toEqual([3, 4, ['z', 'a', 'b', 'c'], ['b', 'c'], 'OK', ['a', 'b', 'c'], 3, 'list'])
    expect(
      await run(
        d,
        ['DEL', k],
        ['HSET', k, 'f', '1', 'g', '2'],
        ['HSET', k, 'f', '3'],
        ['HGETALL', k],
        ['HDEL', k, 'f'],
        ['HDEL', k, 'g'],
        ['TYPE', k],
      ),
    ).toEqual([1, 2, 0, ['f', '3', 'g', '2'], 1, 1, 'none'])
    expect(
      await run(
        d,
        ['ZADD', k, 2, 'b'],
        ['ZADD', k, 1, 'a'],
        ['ZADD', k, 3, 'b'],
        ['ZADD', k, 2.5, 'c'],
        ['ZRANGE', k, 0, -1, 'WITHSCORES'],
        ['ZRANGE', k, -1, -1],
        ['ZREMRANGEBYSCORE', k, 2.5, 2.5],
        ['ZCARD', k],
        ['ZREMRANGEBYRANK', k, 0, -2],
        ['ZRANGE', k, 0, -1],
      ),
    ).toEqual([1, 1, 0, 1, ['a', '1', 'c', '2.5', 'b', '3'], ['b'], 1, 2, 1, ['b']])
    expect(
      await run(d, ['SET', k, 'v', 'PX', '100000'], ['GET', k], ['PTTL', k], ['SET', k, 'w'], ['PTTL', k], ['PEXPIRE', k, '1']),
    ).toEqual(['OK', 'v', expect.any(Number), 'OK', -1, 1])
    await eventually(async () => expect(await run(d, ['GET', k], ['PTTL', k])).toEqual([null, -2]))
  })

  test('bytes are unchanged', async () => {
    const d = await driver({ url })
    const k = unique('k')
    const bytes = Buffer.from([0, 255, 13, 10, 128])
    await d.run([
      ['RPUSH', k, bytes],
      ['HSET', `${k}h`, bytes, bytes],
      ['ZADD', `${k}z`, 1, bytes],
    ])
    const replies = await d.run([
      ['LRANGE', k, 0, -1],
      ['HGETALL', `${k}h`],
      ['ZRANGE', `${k}z`, 0, -1],
    ])
    expect(replies).toEqual([[bytes], [bytes, bytes], [bytes]])
  })

  test('one rejected command does not stop the others, and has its reason', async () => {
    const d = await driver({ url })
    const k = unique('k')
    expect(await run(d, ['SET', k, 'v'], ['RPUSH', k, 'x'], ['ZADD', unique('z'), 'nan', 'm'], ['NOSUCH', k], ['GET', k])).toEqual([
      'OK',
      '-WRONGTYPE',
      '-ERR',
      '-ERR',
      'v',
    ])
  })

  test('atomic: commands run together, with a reply for each', async () => {
    const d = await driver({ url })
    const k = unique('k')
    const replies = await d.run(
      [
        ['ZADD', k, 1, 'a'],
        ['ZREMRANGEBYSCORE', k, 1, 1],
        ['ZADD', k, 1, 'b'],
      ],
      { atomic: true },
    )
    expect(replies.map(plain)).toEqual([1, 1, 1])
    expect(await run(d, ['ZRANGE', k, 0, -1])).toEqual([['b']])
  })

  test('streams: groups, pending entries, acknowledging, claiming, trimming', async () => {
    const d = await driver({ url })
    const k = unique('s')
    const read = (consumer: string, from: string): Command => ['XREADGROUP', 'GROUP', 'g', consumer, 'COUNT', 10, 'STREAMS', k, from]
    expect(await run(d, read('a', '>'))).toEqual(['-NOGROUP'])
    expect(
      await run(d, ['XGROUP', 'CREATE', k, 'g', '0', 'MKSTREAM'], ['XGROUP', 'CREATE', k, 'g', '0', 'MKSTREAM'], read('a', '>')),
    ).toEqual(['OK', '-BUSYGROUP', null])
    await run(d, ['XADD', k, '1-1', 'f', 'x'], ['XADD', k, '1-2', 'f', 'y'], ['XADD', k, '2-0', 'f', 'z'])
    expect(await run(d, ['XADD', k, '1-9', 'f', 'x'], ['XLEN', k])).toEqual(['-ERR', 3])
    const all = [
      ['1-1', ['f', 'x']],
      ['1-2', ['f', 'y']],
      ['2-0', ['f', 'z']],
    ]
    expect(await run(d, read('a', '>'), read('b', '>'))).toEqual([[[k, all]], null])
    expect(await run(d, read('a', '0'), read('a', '1-1'), read('b', '0'))).toEqual([[[k, all]], [[k, all.slice(1)]], [[k, []]]])
    expect(await run(d, ['XACK', k, 'g', '1-2', '9-9'], read('a', '0'))).toEqual([1, [[k, [all[0], all[2]]]]])
    expect(await run(d, ['XAUTOCLAIM', k, 'g', 'b', '100000', '0-0', 'COUNT', '10'])).toEqual([['0-0', [], []]])
    expect(await run(d, ['XAUTOCLAIM', k, 'g', 'b', '0', '0-0', 'COUNT', '10'], read('a', '0'))).toEqual([
      ['0-0', [all[0], all[2]], []],
      [[k, []]],
    ])
    for (let i = 0; i < 300; i++) await d.run([['XADD', k, 'MAXLEN', '=', 2, '*', 'f', String(i)]])
    expect(await run(d, ['XLEN', k])).toEqual([2])
  })

  test('a blocking read waits on its own connection', async () => {
    const d = await driver({ url })
    const k = unique('s')
    await run(d, ['XGROUP', 'CREATE', k, 'g', '$', 'MKSTREAM'])
    const session = await d.session()
    const waiting = session.run([['XREADGROUP', 'GROUP', 'g', 'a', 'BLOCK', 10_000, 'STREAMS', k, '>']])
    await run(d, ['XADD', k, '5-0', 'f', 'x'])
    expect((await waiting).map(plain)).toEqual([[[k, [['5-0', ['f', 'x']]]]]])
    expect((await session.run([['XREADGROUP', 'GROUP', 'g', 'a', 'BLOCK', 10, 'STREAMS', k, '>']])).map(plain)).toEqual([null])
    await session.close()
  })

  test('Pub/Sub: patterns, bytes, order, pausing', async () => {
    const d = await driver({ url })
    const name = unique('c')
    const got: [string, string, string][] = []
    const subscription = await d.subscribe([`${name}.*`, `${name}[?]x`], {
      message: (channel, payload, pattern) => got.push([channel.toString(), payload.toString('latin1'), pattern]),
      down: () => {},
      up: () => {},
      fatal: error => {
        throw error
      },
    })
    await d.run([
      ['PUBLISH', `${name}.a`, Buffer.from([0, 255])],
      ['PUBLISH', `${name}?x`, '2'],
      ['PUBLISH', `${name}yx`, '3'],
      ['PUBLISH', name, '4'],
      ['PUBLISH', `${name}.b`, '5'],
    ])
    await eventually(() => expect(got).toHaveLength(3))
    expect(got).toEqual([
      [`${name}.a`, '\x00\xff', `${name}.*`],
      [`${name}?x`, '2', `${name}[?]x`],
      [`${name}.b`, '5', `${name}.*`],
    ])
    subscription.pause(true)
    await d.run(Array.from({ length: 2500 }, (_, i) => ['PUBLISH', `${name}.c`, String(i)] as const))
    expect(got.length).toBeLessThan(2503)
    subscription.pause(false)
    await eventually(() => expect(got).toHaveLength(2503))
    expect(got.slice(3).map(g => g[1])).toEqual(Array.from({ length: 2500 }, (_, i) => String(i)))
    await subscription.close()
  })
})
