import type { MemorySourceConfig } from '../../generated/config-types.ts'
import { defineSource, Message, type Origin } from '../../contract/plugin.ts'
import { channel } from './channels.ts'
import schema from './source.schema.json' with { type: 'json' }

export default defineSource<MemorySourceConfig>({
  type: 'memory',
  schema,
  replayable: true,
  reason: 'a channel keeps its records as long as the process lives',
  check: async ({ channel: name }) => [{ what: `channel ${name}`, ok: true, detail: 'lives in this process' }],

  create({ channel: name, format, batch_size }, ctx) {
    const input = channel(name)
    const lane = `memory/${name}`
    const origin: Origin = { lane, source: ctx.step, topic: name, partition: 0, format }
    let next = 0

    return {
      async open() {
        const positions = await ctx.assign([{ id: lane, source: ctx.step, topic: name, partition: 0 }])
        next = (positions.get(lane) as number | undefined) ?? 0
      },

      async read(signal) {
        for (;;) {
          signal.throwIfAborted()
          if (next < input.records.length) {
            const end = Math.min(next + batch_size, input.records.length)
            const messages = input.records
              .slice(next, end)
              .map((r, i) => Message.fromRecord(r.payload, r.key, r.time, r.headers, next + i, origin))
            next = end
            return { lane, messages, position: end, lag: input.records.length - end }
          }
          if (input.ended) return null
          await input.change(signal)
        }
      },

      async seek(_, position) {
        next = (position as number | undefined) ?? 0
      },

      caughtUp: () => next >= input.records.length,
    }
  },
})
