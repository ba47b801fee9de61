/** From a dead letter to the record it was. */
import type { ReviveConfig } from '../generated/config-types.ts'
import { type Letter, readLetter, revivedHeaders } from '../kit/dead-letter/letter.ts'
import { DataError, defineTransform, Message } from '../contract/plugin.ts'
import { failOn } from '../kit/fail.ts'
import schema from './revive.schema.json' with { type: 'json' }

export default defineTransform<ReviveConfig>({
  type: 'revive',
  schema,
  readsValue: false,
  create: ({ max_attempts }) => ({
    process(messages, out) {
      for (const m of messages) {
        let revived: Message
        try {
          revived = revive(m, readLetter(m, m.origin?.partition ?? 0), max_attempts)
        } catch (error) {
          failOn(m, error, out)
          continue
        }
        out.emit(revived)
      }
    },
  }),
})

function revive(m: Message, letter: Letter, max: number): Message {
  const { death, time } = letter
  if (!death) throw new DataError('no dead letter of a runner: it has none of their headers')
  if (death.offset < 0) throw new DataError(`made by step '${death.step}' of ${death.pipeline}, not read from a topic`)
  if (death.cutFrom !== undefined) throw new DataError(`the dlq has only the first part of the record, which had ${death.cutFrom} bytes`)
  if (death.attempts > max)
    throw new DataError(`refused ${death.attempts} times, last by step '${death.step}' of ${death.pipeline}: ${death.message}`)
  const headers = [...revivedHeaders(letter), ['source_topic', death.topic] as const]
  // As a record of the lane it was read from: undecoded, with its own bytes.
  const revived = Message.fromRecord(m.payload, m.keyBytes, time, headers, m.offset, m.origin!)
  revived.failure = m.failure
  return revived
}
