import { expect, test } from 'vitest'
import { recordMaker } from '../../../src/connectors/kafka/out-record.ts'
import { DataError, type Header, Message } from '../../../src/contract/plugin.ts'
import type { KafkaSinkConfig } from '../../../src/generated/config-types.ts'
import { sinkConfig } from './config.ts'

test.each([
  [1_767_225_600_123, 1_767_225_600_123],
  [1_767_225_600_123.9, 1_767_225_600_123],
  [0.5, 0],
  [Number.NaN, 0],
  [Number.POSITIVE_INFINITY, 0],
])('a timestamp is a whole number of ms: %d => %d', (time, expected) => {
  expect(recordMaker(sinkConfig({ topic: 't' }))(new Message({ n: 1 }, null, time)).time).toBe(expected)
})

const origin = { lane: 'in/3', source: 's', topic: 'in', partition: 3, format: 'json' } as const
const message = (value: object, headers: Header[] = []) =>
  Message.fromRecord(Buffer.from(JSON.stringify(value)), null, 5, headers, 0, origin)
const made = (config: Partial<KafkaSinkConfig>, m: Message) => recordMaker(sinkConfig(config))(m)

test('the topic comes from the source, from a field, or from the last header of that name with a value', () => {
  const m = message({ to: 'a' }, [
    ['topic', 'first'],
    ['topic', 'last'],
    ['topic', null],
    ['other', 'x'],
  ])
  expect(made({ topic_from: 'source' }, m).topic).toBe('in')
  expect(made({ topic_from: 'field:to' }, m).topic).toBe('a')
  expect(made({ topic_from: 'header:topic' }, m).topic).toBe('last')
})

test.each([
  ['field:to', {}],
  ['field:to', { to: '' }],
  ['field:to', { to: 7 }],
  ['header:topic', { to: 'a' }],
])('a message without a topic (%s of %o) is dead-lettered', (from, value) => {
  expect(() => made({ topic_from: from }, message(value))).toThrow(new DataError(`the message has no topic (${from})`))
})

test.each(['__runner.bars.1.checkpoint', '__consumer_offsets'])('a message cannot select the topic %s', to => {
  for (const from of ['field:to', 'header:topic'])
    expect(() => made({ topic_from: from }, message({ to }, [['topic', to]]))).toThrow(
      new DataError(`the topic "${to}" (${from}) begins with __, as those of Kafka and the runner do; a message cannot choose it`),
    )
})

test('allowed_topics: names and beginnings; a message with another topic is dead-lettered, wherever its topic comes from', () => {
  const allowed_topics = ['in', 'ticks.*']
  const to = (topic: string): string => made({ topic_from: 'field:to', allowed_topics }, message({ to: topic })).topic
  expect([to('in'), to('ticks.BTC'), to('ticks.')]).toEqual(['in', 'ticks.BTC', 'ticks.'])
  for (const topic of ['i', 'inn', 'ticks', 'ticks*', 'IN'])
    expect(() => to(topic)).toThrow(new DataError(`the topic "${topic}" (field:to) is not in allowed_topics: in, ticks.*`))
  expect(made({ topic_from: 'source', allowed_topics }, message({})).topic).toBe('in')
  expect(() => made({ topic_from: 'source', allowed_topics: ['out'] }, message({}))).toThrow(
    /"in" \(source\) is not in allowed_topics: out/,
  )
})

test('headers of the config follow those of the record, which keep_headers keeps', () => {
  const m = message({}, [['a', '1']])
  expect(made({ topic: 't', keep_headers: true }, m).headers).toEqual([['a', '1']])
  expect(made({ topic: 't', keep_headers: true, headers: { b: '2' } }, m).headers).toEqual([
    ['a', '1'],
    ['b', '2'],
  ])
  expect(made({ topic: 't', keep_headers: false, headers: { b: '2' } }, m).headers).toEqual([['b', '2']])
  expect(made({ topic: 't', keep_headers: false }, m).headers).toBeUndefined()
})

test('the partition is the configured one, or with keep_partition that of the source', () => {
  const m = message({})
  expect(made({ topic: 't', partition: 1 }, m).partition).toBe(1)
  expect(made({ topic: 't', keep_partition: true }, m).partition).toBe(3)
  expect(made({ topic: 't', keep_partition: false }, m).partition).toBeUndefined()
})

test('a missing key and a key that is not text are different errors', () => {
  expect(() => made({ topic: 't', key: 'k' }, message({}))).toThrow('the message has no field "k" for its key')
  expect(() => made({ topic: 't', key: 'k' }, message({ k: {} }))).toThrow('field "k" must be text or a number')
})
