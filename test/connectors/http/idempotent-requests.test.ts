import { expect, test } from 'vitest'
import { accepted, type Answer } from '../../../src/connectors/http/source/answer.ts'
import { IdempotentRequests, type IdempotencyOptions } from '../../../src/connectors/http/source/idempotent-requests.ts'

const memory = (options: IdempotencyOptions) => {
  let now = 0
  let runs = 0
  const seen = new IdempotentRequests(options)
  return {
    at: (time: number) => (now = time),
    async send(key: string, answer: Answer = accepted(200, 1)): Promise<boolean> {
      const before = runs
      const { outcome } = seen.once(
        key,
        Buffer.from('body'),
        () => now,
        async () => {
          runs++
          return answer
        },
      )
      await outcome
      return runs > before
    },
  }
}

test('the oldest keys are removed above max, and all keys after ttl', async () => {
  const m = memory({ ttl: 1000, max: 2 })
  for (const key of ['a', 'b', 'c', 'd']) await m.send(key)
  expect(await m.send('a')).toBe(true)
  expect(await m.send('d')).toBe(false)
  m.at(1001)
  expect(await m.send('d')).toBe(true)
})

test('no key is removed within keep, whatever the number and size of the responses', async () => {
  const m = memory({ ttl: 1000, max: 2, keep: 500 })
  const long: Answer = { status: 422, body: 'x'.repeat(9 * 1024 * 1024) }
  for (const key of ['a', 'b', 'c', 'd']) expect(await m.send(key, long)).toBe(true)
  m.at(499)
  for (const key of ['a', 'b', 'c', 'd']) expect(await m.send(key, long)).toBe(false)
  m.at(501)
  expect(await m.send('a')).toBe(true)
})

test('a key of any length is distinct from every other, and takes only the memory of its hash', async () => {
  const stored: string[] = []
  const seen = new IdempotentRequests({ ttl: 1000, max: 10 })
  seen.restore({ load: () => [], put: async ({ key }) => void stored.push(key), drop: () => {} }, 0)
  const send = async (key: string): Promise<boolean> => {
    const once = seen.once(
      key,
      Buffer.from('body'),
      () => 0,
      async () => accepted(200, 1),
    )
    await once.outcome
    return once.repeated
  }
  const long = 'k'.repeat(1_000_000)
  const keys = ['k'.repeat(64), 'k'.repeat(65), `${long}a`, `${long}b`]
  for (const key of keys) expect(await send(key)).toBe(false)
  for (const key of keys) expect(await send(key)).toBe(true)
  expect(stored.map(key => key.length)).toEqual([64, 44, 44, 44])
  expect(new Set(stored).size).toBe(4)
})

test('keys removed before their ttl are counted, expired ones are not', async () => {
  let forgotten = 0
  const m = memory({ ttl: 1000, max: 2, onForgotten: () => forgotten++ })
  for (const key of ['a', 'b', 'c', 'd']) await m.send(key)
  expect(forgotten).toBe(2)
  m.at(1000)
  await m.send('e')
  expect(forgotten).toBe(2)
})
