import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { StdinSourceConfig } from '../../generated/config-types.ts'
import { type Batch, defineSource, EnvironmentError, type Source, type SourceContext } from '../../contract/plugin.ts'
import { Transcoder } from '../../kit/lines/encoding.ts'
import { delimiterFor, Records, validateRecords } from '../../kit/lines/records.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import lines from '../../kit/keys/lines.schema.json' with { type: 'json' }
import schema from './source.schema.json' with { type: 'json' }

export default defineSource<StdinSourceConfig>({
  type: 'stdin',
  schema: withKeys(schema, lines),
  replayable: false,
  shares: true,
  reason: 'data from a pipe can be read only once',
  validateConfig: config => validateRecords(config, config.format),
  check: async () => [{ what: 'standard input', ok: true, detail: 'always available' }],
  create: (config, ctx) => stdinSource(config, ctx, () => process.stdin),
})

const LANE = 'stdin'

/** `input` is called when the source opens: touching `process.stdin` earlier would keep the process alive. */
export function stdinSource(config: StdinSourceConfig, ctx: SourceContext, input: () => Readable): Source {
  let stream: Readable | undefined
  let records: Records
  const transcoder = new Transcoder(config.encoding === 'auto' ? 'utf-8' : config.encoding)
  let waiting = false
  let ended = false

  const batch = (messages: Batch['messages']): Batch => ({ lane: LANE, messages, position: records.position.line })

  return {
    async open() {
      records = new Records({ ...config, delimiter: delimiterFor(config.delimiter, '') }, LANE, ctx.step, 'stdin')
      // Line numbers start again with each run.
      records.generation = randomUUID()
      stream = input()
      await ctx.assign([{ id: LANE, source: ctx.step }])
    },

    async read(signal) {
      while (!ended) {
        const chunk = await nextChunk(stream!, signal, w => {
          waiting = w
        })
        ended = chunk === null
        const now = ctx.clock.now()
        const messages =
          chunk === null ? [...records.push(transcoder.end(), now), ...records.end(now)] : records.push(transcoder.push(chunk), now)
        if (messages.length > 0) return batch(messages)
      }
      return null
    },

    caughtUp: () => waiting || ended,
    endsForGood: true,

    async close() {
      stream?.destroy()
    },
  }
}

/** Null: the end of the stream. A chunk that arrives after an abort stays in the stream. */
async function nextChunk(stream: Readable, signal: AbortSignal, waits: (waiting: boolean) => void): Promise<Buffer | null> {
  for (;;) {
    signal.throwIfAborted()
    if (stream.errored) throw new EnvironmentError(`can't read stdin: ${stream.errored.message}`, stream.errored)
    const chunk: Buffer | string | null = stream.read()
    if (chunk !== null) return typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    if (stream.readableEnded || stream.destroyed) return null
    waits(true)
    await new Promise<void>(resolve => {
      const events = ['readable', 'end', 'close', 'error'] as const
      const done = (): void => {
        for (const event of events) stream.off(event, done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      for (const event of events) stream.on(event, done)
      signal.addEventListener('abort', done)
    })
    waits(false)
  }
}
