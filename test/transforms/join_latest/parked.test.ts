import { expect, test } from 'vitest'
import { encodeJson, type Json, laneOffset, Message, type Origin, parseJson } from '../../../src/contract/plugin.ts'
import { park, type Parked, unpark } from '../../../src/transforms/join_latest/parked.ts'

const LANE = { id: 'in/0', source: 'in', topic: 'in', partition: 0 }
const ORIGIN: Origin = { lane: LANE.id, source: LANE.source, topic: LANE.topic, partition: 0, format: 'json', depth: 256 }

test.each<[what: string, origin: Partial<Origin>, change: (m: Message) => void]>([
  ['an unchanged record', {}, () => {}],
  ['behind repartition: the offset in the lane', { at: 70 }, () => {}],
  ['a line of a file', { file: 'a.jsonl', lines: true, generation: 'g' }, () => {}],
  ['another time', {}, m => void (m.time = 5)],
  ['another value, key and time', { at: 0 }, m => void ((m.value = { b: 1 }), (m.key = 'x'), (m.time = 5), (m.part = 'rows[1]'))],
])('a message is the same after a restart: %s', (_, more, change) => {
  const m = Message.fromRecord(Buffer.from('{"a":1}'), Buffer.from('k'), 9, [['h', Buffer.from('v')]], 3, { ...ORIGIN, ...more })
  change(m)
  const restored = unpark(parseJson(encodeJson(park(m) as Json)) as unknown as Parked, LANE, 256)
  const view = ({ value, key, time, recordTime, headers, payload, keyBytes, offset, part, origin, changed }: Message) => ({
    value,
    key,
    time,
    recordTime,
    headers,
    payload,
    keyBytes,
    offset,
    part,
    origin: { ...origin },
    changed,
  })
  expect(view(restored)).toEqual(view(m))
  expect([laneOffset(restored), restored.encode(), restored.encodeKey()]).toEqual([laneOffset(m), m.encode(), m.encodeKey()])
})
