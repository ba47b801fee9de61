/** Takes the lines that a TCP server sends. The server does not wait for the pipeline: the queue of the kit is between them. */
import { connect, type Socket } from 'node:net'
import { ConnectionError, DataError, defineSource, Message, type Source, type SourceContext } from 'pipeline-runner'
import { createPushQueue, inStateDir, type QueuedRecord, Splitter } from 'pipeline-runner/kit'
import type { TcpLinesSourceConfig } from './tcp_lines.config.ts'
import schema from './tcp_lines.schema.json' with { type: 'json' }

export default defineSource<TcpLinesSourceConfig>({
  type: 'tcp_lines',
  schema,
  replayable: false,
  reason: 'the server does not repeat what it has sent; what is in memory at a crash is lost',
  create,
})

/** Header that keeps what is wrong with a line while it is queued. */
const PROBLEM = 'problem'

function create({ host, port, format, mode, max_line, max_bytes, max_spill }: TcpLinesSourceConfig, ctx: SourceContext): Source {
  const lane = ctx.step
  const origin = { lane, source: ctx.step, format }
  let socket: Socket | undefined
  /** Aborted when the connection has ended. */
  let ended = new AbortController()
  let blocked = false

  const queue = createPushQueue({
    dir: inStateDir(`push/${ctx.pipeline}.${ctx.version}/${ctx.step}`),
    maxBytes: max_bytes,
    maxSpillBytes: max_spill,
    onFull: 'spill',
    onSpillFull: 'block',
    onBlock(now) {
      blocked = now
      if (blocked) socket?.pause()
      else socket?.resume()
    },
    metrics: ctx.metrics,
    log: ctx.log,
    step: ctx.step,
    clock: ctx.clock,
  })

  /** Resolves when the connection is there. */
  function dial(signal: AbortSignal): Promise<void> {
    const splitter = new Splitter({ maxBytes: max_line })
    const over = new AbortController()
    const take = ({ bytes, oversize }: { bytes: Buffer; oversize?: number }): void => {
      const headers = oversize === undefined ? undefined : ([[PROBLEM, `the line has ${oversize} bytes, max_line is ${max_line}`]] as const)
      queue.push({ payload: bytes, time: ctx.clock.now(), headers })
    }
    return new Promise((resolve, reject) => {
      const opening = connect({ host, port })
      const giveUp = (): void => void opening.destroy(signal.reason as Error)
      signal.addEventListener('abort', giveUp, { once: true })
      opening.on('data', (chunk: Buffer) => splitter.push(chunk).forEach(take))
      opening.once('end', () => {
        const last = splitter.end()
        if (last) take(last)
      })
      opening.once('error', (error: Error) => {
        reject(signal.aborted ? (signal.reason as Error) : new ConnectionError(`cannot read from ${host}:${port}: ${error.message}`, error))
      })
      opening.once('close', () => over.abort())
      opening.once('connect', () => {
        // From here on the connection outlives the call.
        signal.removeEventListener('abort', giveUp)
        socket = opening
        ended = over
        if (blocked) opening.pause()
        resolve()
      })
    })
  }

  function toMessage({ payload, time, headers, seq }: QueuedRecord): Message {
    const message = Message.fromRecord(payload, null, time, undefined, seq, origin)
    if (headers) message.failure = new DataError(String(headers[0][1]))
    return message
  }

  return {
    async open() {
      queue.open()
      const positions = await ctx.assign([{ id: lane, source: ctx.step }])
      queue.seek(positions.get(lane) as number | undefined)
    },

    async read(signal) {
      for (;;) {
        signal.throwIfAborted()
        if (queue.size === 0 && (socket === undefined || ended.signal.aborted)) {
          if (mode === 'once' && socket !== undefined) return null
          // When it throws, the runner waits and calls read again.
          await dial(signal)
        }
        try {
          const waiting = queue.size > 0 ? signal : AbortSignal.any([signal, ended.signal])
          const { records, position, lag } = await queue.read(waiting)
          return { lane, messages: records.map(toMessage), position, lag }
        } catch (error) {
          if (signal.aborted || !ended.signal.aborted) throw error
        }
      }
    },

    async seek(_, position) {
      queue.seek(position as number | undefined)
    },

    async commit(_, position) {
      queue.commit(position as number)
    },

    caughtUp: () => queue.size === 0,
    healthy: () => socket !== undefined && !ended.signal.aborted,

    async close() {
      socket?.destroy()
      queue.close()
    },
  }
}
