/** Converts a dead letter back to its original record. */
import { DLQ_HEADERS } from '../kit/dead-letter/headers.ts'
import type { ReviveConfig } from '../generated/config-types.ts'
import { type DeadLetter, readDeadLetter, revivedHeaders } from '../kit/dead-letter/read.ts'
import { DataError, defineTransform, Message } from '../contract/plugin.ts'
import { failOn } from '../kit/fail.ts'
import schema from './revive.schema.json' with { type: 'json' }

export default defineTransform<ReviveConfig>({
  type: 'revive',
  schema,
  readsValue: false,
  create: config => ({
    process(messages, out) {
      for (const m of messages) {
        let revived: Message
        try {
          revived = revive(m, readDeadLetter(m, m.origin?.partition ?? 0), config)
        } catch (error) {
          failOn(m, error, out)
          continue
        }
        out.emit(revived)
      }
    },
  }),
})

/** Larger offsets are those of Redis streams, which are times; no topic has that many records. */
const MAX_TOPIC_OFFSET = 2 ** 48

function revive(m: Message, letter: DeadLetter, { max_attempts: max, source_type: wanted }: ReviveConfig): Message {
  const { failure, time } = letter
  if (!failure) throw new DataError('not a dead letter of a runner: the headers of a dead letter are missing')
  if (failure.offset < 0) throw new DataError(`made by step '${failure.step}' of ${failure.pipeline}, not read from a topic`)
  if (failure.unreadable.length > 0) throw new DataError(`its header ${failure.unreadable.join(', ')} cannot be read`)
  const type = failure.sourceType ?? (failure.offset > MAX_TOPIC_OFFSET ? 'redis' : wanted)
  if (type !== wanted)
    throw new DataError(
      `it came from ${failure.topic} of a ${type} source, not from ${wanted}: runner dlq replay with the file of ${failure.pipeline}`,
    )
  if (failure.cutFrom !== undefined) throw new DataError(`the dlq has only the beginning of the record, which had ${failure.cutFrom} bytes`)
  if (failure.attempts > max)
    throw new DataError(`rejected ${failure.attempts} times, last by step '${failure.step}' of ${failure.pipeline}: ${failure.message}`)
  const headers = [...revivedHeaders(letter), [DLQ_HEADERS.topic, failure.topic] as const]
  // A record of the lane it was read from, undecoded, with its original bytes.
  const revived = Message.fromRecord(m.payload, m.keyBytes, time, headers, m.offset, m.origin!)
  revived.failure = m.failure
  return revived
}
