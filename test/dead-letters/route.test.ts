/** `dlq replay` in a pipeline with branches: a dead letter continues in its branch, and only there. */
import { expect, test } from 'vitest'
import '../../src/built-in.ts'
import { loadLanguageFor } from '../../src/config/lane-keys.ts'
import { loadInput } from '../../src/config/load.ts'
import { type DeadLetterReader, type Header, Message } from '../../src/contract/plugin.ts'
import type { WithDlq } from '../../src/dead-letters/mark-store.ts'
import { replay, type ReplayResult } from '../../src/dead-letters/replay.ts'
import { silentLogger } from '../../src/runtime/telemetry/log.ts'
import { tempDir } from '../support/runner.ts'

const tag = (name: string): object => ({ name, map: { keep: true, fields: { path: `value.?path.orValue("") + "${name} "` } } })
const window = { name: 'w', window: { size: '1m', by: 'id', time: 'ts', aggregates: { n: { count: '*' } } } }
const sizes = {
  name: 'sizes',
  route: [
    {
      name: 'large',
      when: 'n > 10',
      steps: [tag('l1'), { name: 'inner', route: [{ name: 'huge', when: 'n > 20', steps: [tag('h')] }] }, tag('l2')],
    },
    { name: 'small', when: 'n < 5', to: 'own', steps: [tag('s1'), tag('s2')] },
    { name: 'counted', to: 'own', steps: [window] },
  ],
}

async function dryRun(steps: readonly string[], transforms: unknown[], n = 30): Promise<{ lines: string[]; result: ReplayResult }> {
  const brokers = `embedded:${tempDir()}/log.db`
  const config = {
    name: 'p',
    sources: [{ name: 'in', kafka: { brokers: 'embedded', topics: ['in'] }, keyed_by: 'id' }],
    transforms,
    sinks: [
      { name: 'out', stdout: {} },
      { name: 'own', file: { path: 'own.jsonl' } },
    ],
    dlq: { kafka: { brokers, topic: 'dead' } },
  }
  const { pipeline, problems } = await loadInput(config, { env: {} })
  expect(problems.filter(p => p.severity !== 'warning')).toEqual([])
  await loadLanguageFor(pipeline!)
  const letters = steps.map((step, i) => {
    const headers: Header[] = Object.entries({
      source_topic: 'in',
      source_partition: '0',
      source_offset: String(i),
      pipeline: 'p',
      step,
      source_step: 'in',
      error_type: 'data',
      error_message: 'bad',
      attempts: '1',
    }).map(([name, value]) => [name, Buffer.from(value)])
    const payload = Buffer.from(JSON.stringify({ n, id: 'x', ts: 0 }))
    return Message.fromRecord(payload, null, 1000, headers, i, { lane: 'dead/0', source: 'dlq', format: 'bytes' })
  })
  const box: DeadLetterReader = {
    what: 'a list',
    lanes: async () => [{ id: 'dead/0', partition: 0, from: 0, to: letters.length }],
    read: async () => ({ messages: letters, next: letters.length, end: true }),
    close: async () => {},
  }
  const lines: string[] = []
  const options = { pipeline: pipeline as WithDlq, box, way: 'step', select: () => true, freshState: false, log: silentLogger } as const
  const result = await replay({
    ...options,
    dryRun: line => lines.push(line.replace(/ {2}-/, '').replace(/\{.*"path":"(.*?) ?"\}/, '$1')),
  }).run()
  return { result, lines }
}

test.each<[step: string, written: string]>([
  ['sizes/large/l1', 'out  l1 h l2 after'],
  ['sizes/large/inner', 'out  h l2 after'],
  ['sizes/large/inner/huge/h', 'out  h l2 after'],
  ['sizes/large/l2', 'out  l2 after'],
  // The condition is not evaluated again.
  ['sizes/small/s2', 'own  s2'],
  ['sizes/small/s1', 'own  s1 s2'],
  ['after', 'out  after'],
])('at %s', async (step, written) => {
  const { lines, result } = await dryRun([step], [sizes, tag('after')])
  expect(lines).toEqual([written])
  expect([result.replayed, result.left.size]).toEqual([1, 0])
})

test('a step with state matters only where the dead letter can reach it', async () => {
  const left = async (step: string, transforms: unknown[]): Promise<string[]> => [...(await dryRun([step], transforms)).result.left.keys()]
  expect(await left('sizes', [sizes])).toEqual([
    "step 'sizes/counted/w' keeps state, which only the running pipeline has: use --to source, or --fresh-state",
  ])
  const after = { ...window, name: 'last' }
  expect(await left('sizes/large/l1', [sizes, after])).toEqual([expect.stringContaining("step 'last' keeps state")])
  // Its branch ends in its own sink.
  expect(await left('sizes/small/s1', [sizes, after])).toEqual([])
})
