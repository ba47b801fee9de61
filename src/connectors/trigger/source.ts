/** Messages sent by hand with `runner trigger`. */
import type { TriggerSourceConfig } from '../../generated/config-types.ts'
import { defineSource, Message, type Origin } from '../../contract/plugin.ts'
import { checkWritable } from '../../kit/check-writable.ts'
import schema from './source.schema.json' with { type: 'json' }
import type { TriggerQueue } from './queue.ts'

const BATCH = 100

export default defineSource<TriggerSourceConfig>({
  type: 'trigger',
  schema,
  replayable: true,
  reason: 'a trigger stays in a file until its outputs are written',
  async check() {
    const { triggerFile } = await import('./queue.ts')
    return [checkWritable(`trigger file ${triggerFile()}`, triggerFile(), 'exists')]
  },

  create({ once }, ctx) {
    const lane = ctx.step
    const origin: Origin = { lane, source: ctx.step, format: 'json' }
    let queue: TriggerQueue | undefined
    let done = 0

    return {
      async open() {
        const { TriggerQueue: Queue } = await import('./queue.ts')
        queue ??= await Queue.open(ctx.pipeline, ctx.step)
        const positions = await ctx.assign([{ id: lane, source: ctx.step }])
        done = (positions.get(lane) as number | undefined) ?? 0
      },

      async read(signal) {
        for (;;) {
          signal.throwIfAborted()
          const found = queue!.after(done, BATCH)
          if (found.length > 0) {
            done = found.at(-1)!.id
            const messages = found.map(t =>
              Message.fromRecord(Buffer.from(t.data), t.key === null ? null : Buffer.from(t.key), t.created_at, undefined, t.id, origin),
            )
            return { lane, messages, position: done }
          }
          if (once) return null
          await change(queue!, done, signal)
        }
      },

      async seek(_, position) {
        done = (position as number | undefined) ?? 0
      },

      commit: (_, position) => queue!.forget(position as number),
      // `runner trigger --wait` may be waiting for it.
      commitImmediately: true,
      caughtUp: () => queue!.after(done, 1).length === 0,

      async close() {
        queue?.close()
        queue = undefined
      },
    }
  },
})

function change(queue: TriggerQueue, done: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const stop = queue.watch(resolve)
  signal.addEventListener('abort', () => resolve(), { once: true })
  // A trigger may have arrived between the query and the start of the watch.
  if (queue.after(done, 1).length > 0) resolve()
  return promise.finally(stop)
}
