/** `dlq replay`: expressions see the file and the line of the record, as the first time. */
import { expect, test } from 'vitest'
import '../../src/built-in.ts'
import { loadInput } from '../../src/config/load.ts'
import { type Header, Message } from '../../src/contract/plugin.ts'
import { ReplayEntries } from '../../src/dead-letters/replay-entry.ts'
import { compile } from '../../src/expressions/index.ts'
import { readDeadLetter } from '../../src/kit/dead-letter/read.ts'

const META = compile('[meta.?file.orValue("none"), string(meta.?line.orValue(0))]')

test.each([
  ['file', { file: { path: 'in.jsonl' } }, '/data/in.jsonl', 7, ['/data/in.jsonl', '7']],
  ['stdin', { stdin: {} }, 'stdin', 7, ['none', '7']],
  ['kafka', { kafka: { brokers: 'embedded', topics: ['in'] } }, 'in', 7, ['none', '0']],
  // Made from many lines.
  ['file', { file: { path: 'in.jsonl' } }, '/data/in.jsonl', -1, ['none', '0']],
])('%s: %j', async (type, source, topic, offset, expected) => {
  const config = { name: 'p', sources: [{ name: 'in', ...source }], sinks: [{ stdout: {} }], dlq: { file: { path: 'dead.jsonl' } } }
  const { pipeline } = await loadInput(config, { env: {} })
  const texts = { source_topic: topic, source_partition: '0', source_offset: String(offset), source_type: type, source_step: 'in' }
  const failure = { pipeline: 'p', step: 'out', error_type: 'data', error_message: 'bad', attempts: '1' }
  const headers = Object.entries({ ...texts, ...failure }).map(([name, value]): Header => [name, Buffer.from(value)])
  const letter = readDeadLetter(
    Message.fromRecord(Buffer.from('{}'), null, 0, headers, 3, { lane: 'dead', source: 'dlq', format: 'bytes' }),
    0,
  )
  const message = new ReplayEntries(pipeline!, 'step', false).message(letter, { stage: -1 }, 0, () => {})
  expect(META.evaluate(message)).toEqual(expected)
})
