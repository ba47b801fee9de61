/** Moves the records of one key to one lane, through an internal topic. */
import type { RepartitionConfig } from '../../../generated/config-types.ts'
import { compile } from '../../../expressions/index.ts'
import { DataError, defineTransform, type Json, type Transform } from '../../../contract/plugin.ts'
import { failOn } from '../../../kit/fail.ts'
import { timeReader } from '../../../kit/values/event-time.ts'
import { show } from '../../../kit/values/fields.ts'
import { keyJson, sameKeyText } from '../../../kit/values/key.ts'
import { withKeys } from '../../../kit/keys/with-keys.ts'
import eventTime from '../../../kit/keys/event-time.schema.json' with { type: 'json' }
import { connectionKeys } from '../connect.ts'
import { linkSink, linkSource } from '../link/ends.ts'
import { UpstreamClock } from '../link/upstream-clock.ts'
import { linkRecords, mark, messageOf } from '../link/wire.ts'
import schema from './repartition.schema.json' with { type: 'json' }

export default defineTransform<RepartitionConfig>({
  type: 'repartition',
  schema: withKeys(withKeys(schema, eventTime), connectionKeys),
  stateful: true,
  stateShape: ({ by, time, time_unit, partitions }) => ({ by, time, time_unit, partitions }) as Json,
  create,
  link: {
    ends: (config, at) => ({ sink: linkSink(config, at), source: linkSource(config, at) }),
    arrive: (_config, ctx, upstream) => new UpstreamClock(ctx.state('upstream'), upstream),
    records: (message, lane, { partitions }) => linkRecords(message, lane, partitions),
    message: messageOf,
  },
})

/** Event time between two marks of the progress of a lane, ms: the information of the other partitions about it. */
const MARK_EVERY = 1000

/** The last step of the first part: sets the key and the time of each message, and marks the progress of the lane. */
function create(config: RepartitionConfig): Transform {
  const by = compile(config.by)
  const timeOf = timeReader(config.time, config.max_future, config.time_unit)
  let max = Number.NEGATIVE_INFINITY
  let marked = Number.NEGATIVE_INFINITY
  let idle = false

  return {
    process(messages, out) {
      for (const m of messages) {
        try {
          const key = keyOf(by.evaluate(m), config.by)
          const time = timeOf(m)
          m.key = key
          m.clock = time
          if (time > max) max = time
        } catch (error) {
          failOn(m, error, out)
          continue
        }
        idle = false
        out.emit(m)
      }
      if (max >= marked + MARK_EVERY) {
        marked = max
        out.emit(mark('time', max))
      }
    },

    onIdle(silence, out) {
      if (idle || config.idle_timeout === 0 || silence < config.idle_timeout) return
      idle = true
      out.emit(mark('idle', max))
    },

    onEnd(out) {
      out.emit(mark('idle', max))
    },
  }
}

function keyOf(value: unknown, text: string): string {
  if (value === null || value === undefined)
    throw new DataError(`by: '${text}' gave ${show(value)}; a record without a key cannot be assigned to a lane`)
  return sameKeyText(value) ?? keyJson(value)
}
