/** `dlq replay --to step` in a pipeline with a `repartition`: dead letters behind it are replayed, others are left with the reason. */
import { expect, test } from 'vitest'
import '../../src/built-in.ts'
import { loadLanguageFor } from '../../src/config/lane-keys.ts'
import { loadInput } from '../../src/config/load.ts'
import { type DeadLetterReader, type Header, Message } from '../../src/contract/plugin.ts'
import type { WithDlq } from '../../src/dead-letters/mark-store.ts'
import { replay, type ReplayResult } from '../../src/dead-letters/replay.ts'
import { silentLogger } from '../../src/runtime/telemetry/log.ts'
import { tempDir } from '../support/runner.ts'

async function dryRun(steps: readonly string[], source: object): Promise<{ lines: string[]; result: ReplayResult }> {
  const brokers = `embedded:${tempDir()}/log.db`
  const config = {
    name: 'p',
    sources: [source],
    transforms: [
      { name: 'before', map: { fields: { id: 'id', g: 'g' } } },
      { name: 'spread', repartition: { brokers, by: 'g' } },
      { name: 'behind', map: { fields: { id: 'id', behind: 'true' } } },
    ],
    sinks: [{ name: 'out', stdout: {} }],
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
    const payload = Buffer.from(JSON.stringify({ id: i, g: 'x' }))
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
  return { result: await replay({ ...options, dryRun: line => lines.push(line) }).run(), lines }
}

const kafka = { name: 'in', kafka: { brokers: 'embedded', topics: ['in'] } }

test('dead letters of steps and sinks behind the repartition are replayed', async () => {
  const { lines, result } = await dryRun(['behind', 'out'], kafka)
  expect(lines).toEqual([expect.stringContaining('{"id":0,"behind":true}'), expect.stringContaining('{"id":1,"g":"x"}')])
  expect([result.replayed, result.failed, result.left.size]).toEqual([2, 0, 0])
})

test('dead letters in front of it and of the handover are left: they go back to their source', async () => {
  const { lines, result } = await dryRun(['in', 'before', 'spread', 'spread.write'], kafka)
  expect(lines).toEqual([])
  expect([result.replayed, result.failed]).toEqual([0, 0])
  expect([...result.left]).toEqual([["step 'spread' passes records on to lanes of the running pipeline only: use --to source", 4]])
})

test('a source that cannot be written to: the record must be sent again', async () => {
  const { result } = await dryRun(['before'], { name: 'in', http: { port: 8080, path: '/in' } })
  expect([...result.left.keys()]).toEqual([
    "step 'spread' passes records on to lanes of the running pipeline only: its source cannot be written to either; send the record to the source again, then use dlq discard",
  ])
})
