/** `lookup_redis`: strings, fields and hashes, on a real server and the embedded store. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import lookup from '../../../../src/connectors/redis/transforms/lookup_redis.ts'
import { ConnectionError, encodeJson, type Message, parseJson, type Transform } from '../../../../src/contract/plugin.ts'
import type { LookupRedisConfig } from '../../../../src/generated/config-types.ts'
import { VirtualClock } from '../../../../src/kit/clock.ts'
import { fakeContext } from '../../../../src/testing/conformance/context.ts'
import { messagesOf, runTransform, transformConformance } from '../../../conformance/transform.ts'
import { startProxy } from '../../../support/tcp-proxy.ts'
import { redisUrl } from '../../../support/redis.ts'
import { unique } from '../../../support/unique.ts'
import { driver, kinds, sourceConfig } from '../make.ts'

const configFor = (config: Partial<LookupRedisConfig>): LookupRedisConfig => ({
  ...(sourceConfig({}) as unknown as LookupRedisConfig),
  format: undefined,
  as: 'row',
  on_missing: 'fail',
  ttl: 60_000,
  max_entries: 10_000,
  max_bytes: 1024 * 1024,
  ...config,
})
const of = (...texts: string[]): Message[] => messagesOf(texts.map(text => ({ value: parseJson(text) })))
const shown = (run: { readonly out: readonly Message[] }): string[] => run.out.map(m => encodeJson(m.value))
const failures = (run: { readonly failures: readonly { readonly error: Error }[] }): string[] => run.failures.map(f => f.error.message)

/** The transform, and the commands that it sends. */
function making(config: LookupRedisConfig, clock: VirtualClock): Transform {
  return lookup.create(config, {
    ...fakeContext('lookup', clock),
    lane: { id: 'a', source: 'in' },
    state: () => undefined as never,
    shared: (_name, make) => make(),
    watermark: () => {},
  })
}
async function rowOf(transform: Transform, text: string): Promise<string> {
  let found = ''
  await transform.process(of(text), {
    emit: m => void (found = encodeJson((m.value as { row?: unknown }).row)),
    emitTo: () => {},
    fail: (_, error) => void (found = error.message),
  })
  return found
}

describe.each(kinds)('lookup_redis: %s', (_name, url) => {
  test('a string of JSON keeps its numbers; bad values fail their own message', async () => {
    const p = unique('s')
    const d = await driver({ url })
    await d.run([
      ['SET', `${p}:1`, '{"n":123456789012345678901.10}'],
      ['SET', `${p}:2`, 'plain'],
      ['SET', `${p}:3`, 'null'],
      ['SET', `${p}:4`, Buffer.from([0xff, 0x22])],
      ['RPUSH', `${p}:5`, 'x'],
    ])
    const run = await runTransform(lookup, configFor({ url, string: `${p}:<id>` }), [
      of('{"id":1}', '{"id":2}', '{"id":3}', '{"id":4}', '{"id":5}', '{"id":6}', '{}', '{"id":1}'),
    ])
    expect(shown(run)).toEqual(['{"id":1,"row":{"n":123456789012345678901.10}}', '{"id":1,"row":{"n":123456789012345678901.10}}'])
    expect(failures(run)).toEqual([
      expect.stringMatching(`the value of ${p}:2 is not JSON: .*; for plain text, set format: text`),
      `lookup_redis: no row for key ${p}:3`,
      `lookup_redis: the value of ${p}:4 is not valid UTF-8`,
      expect.stringMatching(`${p}:5 has another type`),
      `lookup_redis: no row for key ${p}:6`,
      expect.stringMatching('no field "id"'),
    ])
  })

  test('text, a field of a hash, and a whole hash', async () => {
    const p = unique('h')
    const d = await driver({ url })
    await d.run([
      ['SET', `${p}:t`, '1.10'],
      ['HSET', `${p}:h`, 'a', '{"x":1.10}', 'b c', '2'],
    ])
    const find = async (config: Partial<LookupRedisConfig>, ...texts: string[]): Promise<string[]> => {
      const run = await runTransform(lookup, configFor({ url, on_missing: 'null', ...config }), [of(...texts)])
      return run.out.map(m => encodeJson((m.value as { row: unknown }).row))
    }
    expect(await find({ string: `${p}:t`, format: 'text' }, '{}')).toEqual(['"1.10"'])
    expect(await find({ hash: `${p}:h`, hash_field: 'f' }, '{"f":"a"}', '{"f":"b c"}', '{"f":"no"}')).toEqual(['{"x":1.10}', '2', 'null'])
    expect(await find({ hash: `${p}:<f>` }, '{"f":"h"}', '{"f":"no"}')).toEqual(['{"a":"{\\"x\\":1.10}","b c":"2"}', 'null'])
  })

  test('the cache: a value until ttl, a missing key until negative_ttl', async () => {
    const p = unique('c')
    const d = await driver({ url })
    const clock = new VirtualClock(0)
    const transform = making(configFor({ url, string: `${p}:<id>`, on_missing: 'null', ttl: 60_000, negative_ttl: 1000 }), clock)
    const after = async (ms: number): Promise<string> => {
      clock.step(clock.now() + ms)
      return await rowOf(transform, '{"id":1}')
    }
    expect(await after(0)).toBe('null')
    await d.run([['SET', `${p}:1`, '1']])
    expect(await after(999)).toBe('null')
    expect(await after(1)).toBe('1')
    await d.run([['SET', `${p}:1`, '2']])
    expect(await after(59_999)).toBe('1')
    expect(await after(1)).toBe('2')
    await transform.close!()
  })
})

test('a server that is away is a connection error; after its return the same transform continues', async () => {
  const server = new URL(redisUrl())
  const proxy = await startProxy(server.host)
  const key = unique('away')
  const d = await driver({ url: redisUrl() })
  await d.run([['SET', key, '7']])
  const url = redisUrl().replace(server.host, `127.0.0.1:${proxy.port}`)
  const transform = making(configFor({ url, string: key, ttl: 0 }), new VirtualClock(0))
  try {
    expect(await rowOf(transform, '{}')).toBe('7')
    proxy.cut()
    await expect(rowOf(transform, '{}')).rejects.toThrow(ConnectionError)
    proxy.restore()
    await expect.poll(() => rowOf(transform, '{}').catch(() => undefined), { timeout: 20_000 }).toBe('7')
  } finally {
    await transform.close!()
    await proxy.stop()
  }
})

test('validate: exactly one of string and hash, and names of templates', () => {
  const problems = (config: Partial<LookupRedisConfig>): string[] =>
    lookup.validateConfig!(configFor(config)).map(p => `${p.path.join('.')}: ${p.message}`)
  expect(problems({ string: 'a:<id>' })).toEqual([])
  expect(problems({})).toEqual([': set string or hash'])
  expect(problems({ string: 'a', hash: 'b' })).toEqual(['hash: set either string or hash, not both'])
  expect(problems({ string: '<@lane>' })).toEqual([expect.stringMatching(/^string: has <@lane>/)])
  expect(problems({ string: 'a', hash_field: 'b' })).toEqual(['hash_field: works with hash, not with string'])
  expect(problems({ hash: 'a', format: 'json' })).toHaveLength(1)
})

transformConformance(
  'lookup_redis',
  lookup,
  configFor({ url: kinds[1][1], string: 'conformance:<id>', on_missing: 'null' }),
  fc.array(fc.record({ value: fc.oneof(fc.record({ id: fc.constantFrom(1, 'x', null) }), fc.json()) }), { maxLength: 20 }),
)
