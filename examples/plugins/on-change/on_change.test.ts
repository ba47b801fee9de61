import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runTransform, transformConformance } from 'pipeline-runner/testing'
import plugin from './on_change.ts'

const config = { field: 'open', by: 'door' }

const passing = async (more: object, ...inputs: { time?: number; value: unknown }[]): Promise<unknown[]> => {
  const { out, failures } = await runTransform(plugin, { ...config, ...more }, [inputs])
  expect(failures).toEqual([])
  return out.map(m => (m.value as { n: number }).n)
}

test('a key passes at first, and when its field has changed', async () => {
  const door = (n: number, name: unknown, open: unknown): { value: unknown } => ({ value: { n, door: name, open } })
  expect(await passing({}, door(1, 'a', 1), door(2, 'b', 1), door(3, 'a', 1), door(4, 'a', 2), door(5, 'b', 1), door(6, 'a', 1))).toEqual([
    1, 2, 4, 6,
  ])
  // The number 1 and the text "1" are two values, and two keys.
  expect(await passing({}, door(1, 1, 1), door(2, '1', 1), door(3, 1, '1'), door(4, 1, '1'))).toEqual([1, 2, 3])
})

test('repeat_after counts from the last record that passed, by event time', async () => {
  const at = (n: number, time: number): { value: unknown; time: number } => ({ time, value: { n, door: 'a', open: true } })
  expect(await passing({ repeat_after: 1000 }, at(1, 0), at(2, 999), at(3, 1000), at(4, 1999), at(5, 2000))).toEqual([1, 3, 5])
})

test('a record without a key or a value fails', async () => {
  const { out, failures } = await runTransform(plugin, config, [[{ value: { open: 1 } }, { value: { door: 'a' } }, { value: null }]])
  expect(out).toEqual([])
  expect(failures.map(f => f.error.message)).toEqual(['door is missing', 'open is missing', 'door is missing'])
})

test('the field must not be the key', () => {
  expect(plugin.validateConfig!({ field: 'door', by: 'door' })).toMatchObject([{ path: ['field'] }])
  expect(plugin.validateConfig!(config)).toEqual([])
})

const door = fc.record({ door: fc.constantFrom('a', 'b', 1), open: fc.constantFrom(true, false, 'ajar') }, { requiredKeys: [] })
const inputs = fc.array(fc.record({ value: door, time: fc.nat(5000) }), { maxLength: 60 })
for (const { name, run } of transformConformance({ plugin, config: { ...config, repeat_after: 1000 }, inputs })) test(name, run)
