/** The table of the parts of `meta` in docs/guide/expressions.md, against what the sources give. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MemoryChannel, type PipelineInput, run } from 'pipeline-runner'
import { afterAll, expect, test } from 'vitest'
import { PLUGINS } from '../../src/generated/plugins.ts'
import { tempDir } from '../support/runner.ts'

const PARTS = ['topic', 'partition', 'file', 'line'] as const
const guide = readFileSync(join(import.meta.dirname, '../../docs/guide/expressions.md'), 'utf8')
const rows = [...guide.split('<!-- metadata:')[1].matchAll(/^\| `(\w+)` \|(.*)\|$/gm)].map(
  ([, source, cells]) => [source, cells.split('|').map(cell => cell.trim())] as const,
)
const given = new Map(rows.map(([source, cells]) => [source, PARTS.filter((_, i) => cells[i] !== '')]))

test('the table has a row for each source', () => {
  expect(rows.map(([source]) => source)).toEqual(Object.keys(PLUGINS.source))
})

const dir = tempDir({ 'in.txt': 'a\nb\n' })
const before = process.env.RUNNER_STATE_DIR
process.env.RUNNER_STATE_DIR = join(dir, 'state')
afterAll(() => {
  if (before === undefined) delete process.env.RUNNER_STATE_DIR
  else process.env.RUNNER_STATE_DIR = before
})

const generate = { generate: { count: 1, fields: { n: { value: 1 } } } }
const memory = (): Record<'in' | 'out' | 'dead', MemoryChannel> => ({
  in: new MemoryChannel(),
  out: new MemoryChannel(),
  dead: new MemoryChannel(),
})
let names = 0

/** The parts of the first record. */
async function partsOf(source: object, fill?: object): Promise<Record<string, unknown>> {
  if (fill) await (await run({ name: `fill${++names}`, sources: [generate], sinks: [fill] } as PipelineInput)).completed
  const channels = memory()
  const fields = Object.fromEntries(PARTS.map(part => [part, `meta.?${part}.orValue(dyn("none"))`]))
  const used = { out: channels.out, dead: channels.dead, ...('memory' in source && { in: channels.in }) }
  const pipeline = await run(
    {
      name: `meta${++names}`,
      sources: [source],
      transforms: [{ map: { fields } }],
      sinks: [{ memory: 'out' }],
      dlq: { memory: 'dead' },
    } as PipelineInput,
    { memory: used },
  )
  if ('memory' in source) await channels.in.send({ value: { n: 1 } })
  for await (const { value } of channels.out) {
    // A one-shot source may have more.
    await pipeline.stop().catch(() => {})
    return value as Record<string, unknown>
  }
  throw new Error('no record')
}
const path = join(dir, 'in.txt')
writeFileSync(path, 'a\n')

test.each([
  ['file', { file: { path } }, undefined, { file: path, line: 1 }],
  ['generate', generate, undefined, {}],
  [
    'kafka',
    { kafka: { brokers: 'embedded', topics: ['m'] } },
    { kafka: { brokers: 'embedded', topic: 'm' } },
    { topic: 'm', partition: 0 },
  ],
  ['memory', { memory: 'in' }, undefined, { topic: 'in', partition: 0 }],
  ['redis', { redis: { url: 'embedded', list: 'l' } }, { redis: { url: 'embedded', list: 'l' } }, { topic: 'l' }],
  ['schedule', { schedule: { every: '100ms' } }, undefined, {}],
] as const)('%s', async (type, source, fill, expected) => {
  const parts = await partsOf(source, fill)
  expect(parts).toEqual({ topic: 'none', partition: 'none', file: 'none', line: 'none', ...expected })
  expect(Object.keys(expected)).toEqual(given.get(type))
})
