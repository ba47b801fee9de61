/** The cache of lookups. */
import { describe, expect, test } from 'vitest'
import { DataError, Message } from '../../src/contract/plugin.ts'
import { VirtualClock } from '../../src/kit/clock.ts'
import { cachedLookup, type Caching, type Found } from '../../src/kit/lookup.ts'

function looking(caching: Partial<Caching>, find: (key: string) => Found) {
  const clock = new VirtualClock(0)
  const asked: string[][] = []
  const shared = <T>(_: string, make: () => T): T => make()
  const config = { as: 'row', on_missing: 'null', ttl: 1000, max_entries: 100, ...caching } as const
  const transform = cachedLookup(
    'lookup_x',
    config,
    { clock, shared },
    m => (m.value as { id: string }).id,
    async keys => {
      asked.push([...keys])
      return new Map(keys.map(key => [key, find(key)]))
    },
  )
  const ids = async (...list: string[]): Promise<unknown[]> => {
    const seen: unknown[] = []
    const out = {
      emit: (m: Message) => void seen.push((m.value as { row: unknown }).row),
      emitTo: () => {},
      fail: (_: Message, e: Error) => void seen.push(e.message),
    }
    await transform.process(
      list.map(id => new Message({ id }, null, 0)),
      out,
    )
    return seen
  }
  return { ids, asked, clock }
}
const row = (key: string): Found => (key.startsWith('no') ? { rows: [] } : { rows: [key], bytes: 10 })

describe('the cache', () => {
  test('asks each missing key once per batch, and keeps the order of messages', async () => {
    const { ids, asked } = looking({}, row)
    expect(await ids('a', 'b', 'a', 'no')).toEqual(['a', 'b', 'a', null])
    expect(await ids('b', 'c')).toEqual(['b', 'c'])
    expect(asked).toEqual([['a', 'b', 'no'], ['c']])
  })

  test.each([
    ['max_entries', { max_entries: 2 }],
    ['max_bytes', { max_bytes: 20 }],
  ])('%s removes the least recently used', async (_name, bound) => {
    const { ids, asked } = looking(bound, row)
    for (const id of ['a', 'b', 'a', 'c', 'a', 'b']) await ids(id)
    expect(asked.flat()).toEqual(['a', 'b', 'c', 'b'])
  })

  test('a row larger than max_bytes is used and not kept', async () => {
    const { ids, asked } = looking({ max_bytes: 9 }, row)
    expect([await ids('a'), await ids('a')]).toEqual([['a'], ['a']])
    expect(asked).toHaveLength(2)
  })

  test('ttl and negative_ttl; an error is never kept', async () => {
    const { ids, asked, clock } = looking({ negative_ttl: 10 }, key => (key === 'bad' ? new DataError('broken') : row(key)))
    expect(await ids('a', 'no', 'bad')).toEqual(['a', null, 'broken'])
    clock.step(10)
    await ids('a', 'no', 'bad')
    clock.step(1000)
    await ids('a')
    expect(asked).toEqual([['a', 'no', 'bad'], ['no', 'bad'], ['a']])
  })
})
