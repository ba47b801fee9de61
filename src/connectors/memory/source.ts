import type { MemorySourceConfig } from '../../generated/config-types.ts'
import { defineSource, Message, type Origin } from '../../contract/plugin.ts'
import { channel, type Given } from './channel.ts'
import schema from './source.schema.json' with { type: 'json' }

export default defineSource<MemorySourceConfig & Given>({
  type: 'memory',
  schema,
  replayable: true,
  shares: true,
  reason: 'a channel keeps its records until the process ends',
  check: async ({ channel: name }) => [{ what: `channel ${name}`, ok: true, detail: 'in this process' }],

  create({ channel: topic, format, batch_size, given }, ctx) {
    const input = given ?? channel(topic)
    const lane = `memory/${topic}`
    const reader = `step '${ctx.step}' of pipeline '${ctx.pipeline}' (version ${ctx.version})`
    const origin: Origin = { lane, source: ctx.step, topic, partition: 0, format }
    let next = 0

    return {
      // A channel with a limit frees space with each commit, and `flushed` waits for it.
      commitImmediately: given !== undefined,

      async open() {
        const positions = await ctx.assign([{ id: lane, source: ctx.step, topic, partition: 0 }])
        next = input.attach(reader, positions.get(lane))
      },

      async read(signal) {
        for (;;) {
          signal.throwIfAborted()
          const records = input.read(next, batch_size)
          if (records.length > 0) {
            const messages = records.map((r, i) => Message.fromRecord(r.payload, r.keyBytes, r.time, r.headers, next + i, origin))
            next += records.length
            return { lane, messages, position: [input.id, next], lag: input.behind(next) }
          }
          if (input.ended) return null
          await input.change(signal)
        }
      },

      async seek(_, position) {
        next = input.placeOf(reader, position)
      },

      async commit(_, position) {
        input.commit(reader, (position as [string, number])[1])
      },

      caughtUp: () => input.behind(next) <= 0,
      close: async () => input.detach(reader, ctx.pipeline),
    }
  },
})
