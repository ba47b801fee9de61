/** Lines of envelope files, and headers of dead letters and of internal topics, by any writer. */
import { DecodeError, Message, type LaneInfo, type Origin } from '../../../src/contract/plugin.ts'
import { messageOf } from '../../../src/connectors/kafka/link/wire.ts'
import { readDeadLetter, failureTime, revivedHeaders } from '../../../src/kit/dead-letter/read.ts'
import { DLQ_HEADERS } from '../../../src/kit/dead-letter/headers.ts'
import { envelopeLine, readEnvelope } from '../../../src/kit/lines/envelope.ts'
import { assert, outcomeOf, type Target } from '../target.ts'

const origin: Origin = { lane: 't/0', source: 's', topic: 't', partition: 0, format: 'bytes' }
const lane = { id: 't/0', source: 's', topic: 't', partition: 0, lanes: 1 } as LaneInfo

const letter = (): string =>
  envelopeLine(
    Message.fromRecord(
      Buffer.from('{"a":1.10}'),
      Buffer.from('k'),
      1_700_000_000_000,
      [
        ['own', Buffer.from([0xff])],
        ['own', null],
        [DLQ_HEADERS.topic, 't'],
        [DLQ_HEADERS.step, 'map'],
        [DLQ_HEADERS.errorType, 'data'],
        [DLQ_HEADERS.offset, '12'],
        [DLQ_HEADERS.failedAt, '2026-01-01T00:00:00.000Z'],
        [DLQ_HEADERS.stepInput, '{"b":1}'],
        [
          'runner_link',
          '{"lane":"t/0","source":"s","time":1,"as":"json","from":{"lane":"t/0","source":"s","format":"json","offset":1},"times":[1,2]}',
        ],
      ],
      0,
      origin,
    ),
  )

export const target: Target = {
  name: 'envelope',
  seeds: () => [
    Buffer.from(letter()),
    Buffer.from('{"time":null,"key":null,"headers":{},"value":null}'),
    Buffer.from('{"time":"2026-01-01T00:00:00Z","key":"k","headers":{"a":null},"value_base64":"/w==","value":1.0}'),
  ],
  dictionary: [
    ...Object.values(DLQ_HEADERS),
    'runner_link',
    '"headers_base64":',
    '[["a","b"]]',
    'null',
    '{}',
    '[]',
    '1e999',
    '"__proto__"',
    '"mark":"time"',
    '"as":"json"',
    '"times":',
    '"from":',
  ],
  run(input) {
    let record
    try {
      record = readEnvelope(input.toString())
    } catch (error) {
      // Its caller turns any error into a dead letter.
      return outcomeOf(error)
    }
    assert(
      record.headers.every(([name, value]) => typeof name === 'string' && (value === null || Buffer.isBuffer(value))),
      'headers are names and bytes',
    )
    assert(record.value === null || Buffer.isBuffer(record.value), 'the value is bytes')
    assert(record.key === null || Buffer.isBuffer(record.key), 'the key is bytes')
    const message = Message.fromRecord(record.value, record.key, record.time, record.headers, 3, origin)
    const found = readDeadLetter(message, 0)
    revivedHeaders(found)
    const back = messageOf({ partition: 0, key: record.key, value: record.value, headers: record.headers }, 3, lane)
    assert(back.failure === undefined || back.failure instanceof DecodeError, 'a failure is a DecodeError')
    return `${record.headers.length > 3}:${found.failure?.unreadable.length}:${Number.isNaN(failureTime(found))}:${back.failure?.message}`
  },
}
