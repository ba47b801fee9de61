import { expect, test } from 'vitest'
import { runTransform, transformConformance } from 'pipeline-runner/testing'
import plugin from './split.ts'

const config = { ports: { large: 'amount >= 1000.0', foreign: 'country != "DE"' } }

test('the first condition that is true decides', async () => {
  const order = (amount: unknown, country: string): { value: unknown } => ({ value: { amount, country } })
  const run = await runTransform(plugin, config, [[order(5, 'DE'), order(5, 'FR'), order(2000, 'FR'), order('5', 'DE')]])
  const amounts = (messages: readonly { value: unknown }[] = []): unknown[] => messages.map(m => (m.value as { amount: number }).amount)
  expect([amounts(run.out), amounts(run.ports.foreign), amounts(run.ports.large)]).toEqual([[5], [5], [2000]])
  expect(run.failures.map(f => f.error.name)).toEqual(['DataError'])
})

test('a condition that is neither true nor false fails the record', async () => {
  const run = await runTransform(plugin, { ports: { a: 'flag' } }, [[{ value: { flag: 1 } }]])
  expect(run.failures.map(f => f.error.message)).toEqual(["'flag' gave 1, not true or false"])
})

const inputs = (random: () => number): { value: object }[] =>
  Array.from({ length: 40 }, () => ({ value: random() < 0.1 ? {} : { amount: Math.floor(random() * 2000), country: 'DE' } }))
for (const { name, run } of transformConformance({ plugin, config, inputs })) test(name, run)
