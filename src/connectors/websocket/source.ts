/**
 * Client of a WebSocket feed. Opening only starts to connect: of several feeds in one pipeline one that is down must not hold the
 * others up, and a feed comes and goes anyway. Until it is there the source is not healthy.
 */
import type { WebsocketSourceConfig } from '../../config.gen.ts'
import {
  type Batch,
  DataError,
  defineSource,
  type Json,
  Message,
  type Origin,
  type Refusal,
  type Source,
  type SourceContext,
} from '../../plugin.ts'
import { backoff } from '../../runtime/pause.ts'
import { createPushQueue, type PushBatch, type QueuedRecord } from '../../runtime/push-queue/queue.ts'
import { inStateDir } from '../../runtime/state-dir.ts'
import { anyOf, type Match, matcher } from '../../transforms/lib/match.ts'
import { BookCheck } from './book-check.ts'
import { check } from './check.ts'
import { Connection } from './connection.ts'
import { countersOf, type ReconnectReason } from './counters.ts'
import { type Got, httpGet } from './http-get.ts'
import { probe } from './probe.ts'
import { Refused } from './refused.ts'
import { Sequences, type Streams } from './sequence.ts'
import { Snapshots } from './snapshots.ts'
import schema from './source.schema.json' with { type: 'json' }
import { expand, expandUrl, symbolsOf } from './template.ts'
import { type TlsOptions, tlsOptions } from './tls.ts'

export default defineSource<WebsocketSourceConfig>({
  type: 'websocket',
  schema,
  replayable: false,
  reason: 'a feed does not repeat what it has sent; what is missed while disconnected or in memory at a crash is lost',
  check,
  probe,
  create: (config, ctx) => websocketSource(config, ctx, Math.random),
})

/** Name of the header that keeps what is wrong with a message while it is queued. */
const PROBLEM = 'sequence_error'

export function websocketSource(config: WebsocketSourceConfig, ctx: SourceContext, random: () => number): Source {
  const lane = ctx.step
  const origin: Origin = { lane, source: ctx.step, format: config.format }
  const counters = countersOf(ctx)
  const refused = new Refused(ctx.log, counters)
  const symbols = symbolsOf(config.symbols)
  const hello = expand(config.subscribe as Json[], symbols)
  const isControl = anyOf(config.control as Match[])
  const pong = config.ping?.pong
  const pongText = typeof pong === 'string' ? Buffer.from(pong) : undefined
  const isPong = typeof pong === 'object' ? matcher(pong as Match) : () => false

  let Client: typeof import('ws').WebSocket
  let tls: TlsOptions = {}
  let connection: Connection | undefined
  let retry: NodeJS.Timeout | undefined
  let attempt = 0
  let openedAt = 0
  /** The feed has ended for good. */
  const end = new AbortController()
  let closed = false
  /** Number that follows on from what was read last; undefined: nothing was. */
  let expected: number | undefined
  const restarts = new Map<string, NodeJS.Timeout>()
  /** Messages that are no data but have a sequence number all the same. */
  const controls = new WeakSet<Message>()

  const { max_bytes, max_spill, on_full, on_spill_full } = config.queue
  const queue = createPushQueue({
    dir: inStateDir(`push/${ctx.pipeline}.${ctx.version}/${ctx.step}`),
    maxBytes: max_bytes,
    maxSpillBytes: max_spill,
    onFull: on_full,
    onSpillFull: on_spill_full,
    onBlock: blocked => (blocked ? connection?.pause() : connection?.resume()),
    metrics: ctx.metrics,
    log: ctx.log,
    step: ctx.step,
    clock: ctx.clock,
  })

  const emit = ({ payload, keyBytes, time }: Message, problem?: string): void =>
    queue.push({ payload: payload!, key: keyBytes, time, ...(problem ? { headers: [[PROBLEM, problem]] } : {}) })
  const actions = {
    emit: (message: Message, problem?: string) => (controls.delete(message) ? counters.drop('control') : emit(message, problem)),
    resubscribe: (key: string) => resubscribe(key),
    reconnect: (reason: 'gap' | 'buffer_full') =>
      connection?.end(reason, reason === 'gap' ? 'messages are missing' : 'max_buffered messages wait for a snapshot'),
  }
  const sequences =
    config.sequence && new Sequences(config.sequence as never, { ...actions, fetch: key => snapshots!.request(key) }, counters)
  const streams: Streams | undefined = sequences ?? (config.checksum && new BookCheck(config.checksum as never, actions, counters))
  const looks = config.format === 'json' && (config.control.length > 0 || typeof pong === 'object' || streams !== undefined)
  const snapshots =
    config.sequence?.snapshot &&
    new Snapshots({
      interval: config.sequence.min_interval,
      backoff: config.reconnect,
      random,
      log: ctx.log,
      counters,
      wanted: key => sequences!.waits(key),
      get: (key, signal) => {
        const { url, headers, timeout, max_size } = config.sequence!.snapshot!
        return httpGet(expandUrl(url, key), { headers, tls, timeout, maxSize: max_size, signal })
      },
      use: (key, got) => sequences!.snapshot(key, snapshotMessage(key, got)),
    })

  function received({ payload, key, time, headers, seq }: QueuedRecord): Message {
    const message = Message.fromRecord(payload, key, time, undefined, seq, origin)
    const problem = headers?.find(([name]) => name === PROBLEM)
    if (problem) message.failure = new DataError(String(problem[1]))
    return message
  }

  /** Null: the feed has ended, and everything has been read. */
  async function next(signal: AbortSignal): Promise<PushBatch | null> {
    while (!end.signal.aborted) {
      try {
        return await queue.read(AbortSignal.any([signal, end.signal]))
      } catch (error) {
        if (signal.aborted || !end.signal.aborted) throw error
      }
    }
    signal.throwIfAborted()
    return queue.size > 0 ? await queue.read(signal) : null
  }

  const makeMessage = (payload: Buffer, key: string | null, time: number): Message =>
    Message.fromRecord(payload, key === null ? null : Buffer.from(key), time, undefined, -1, origin)

  const snapshotMessage = (key: string, { body, date }: Got): Message => makeMessage(body, key, date > 0 ? date : ctx.clock.now())

  function resubscribe(key: string): void {
    const mending = (config.sequence ?? config.checksum)!
    for (const text of expand((mending.resubscribe ?? config.subscribe) as Json[], [key])) connection?.send(text)
    clearTimeout(restarts.get(key))
    restarts.set(
      key,
      setTimeout(() => {
        if (streams!.waits(key)) connection?.end('gap', `no snapshot of ${key} came after subscribing again`)
      }, mending.restart_timeout),
    )
  }

  function frame(data: Buffer): void {
    counters.messages.inc()
    counters.bytes.inc(data.length)
    if (pongText?.equals(data)) {
      counters.drop('pong')
      connection!.answered()
      return
    }
    const message = makeMessage(data, null, ctx.clock.now())
    const value = looks ? decoded(message) : undefined
    if (isPong(value)) {
      counters.drop('pong')
      connection!.answered()
      return
    }
    const key = value === undefined ? undefined : streams?.keyOf(value)
    if (!isControl(value)) connection!.alive()
    else if (key === undefined) return counters.drop('control')
    else controls.add(message)
    if (key === undefined) emit(message)
    else streams!.accept(message, key)
  }

  function connect(): void {
    retry = undefined
    connection = new Connection(
      Client,
      {
        url: config.url,
        client: {
          headers: config.headers,
          maxPayload: config.max_message_size,
          handshakeTimeout: config.connect_timeout,
          // Bytes that are no UTF-8 are a dead letter, not the end of the connection.
          skipUTF8Validation: true,
          ...tls,
        },
        hello,
        pingInterval: config.ping_interval,
        staleAfter: config.stale_after,
        ping: config.ping && { interval: config.ping.every, message: textOf(config.ping.message as Json), answered: pong !== undefined },
      },
      {
        opened: () => (openedAt = performance.now()),
        frame,
        ended: lost,
      },
    )
  }

  function lost(reason: ReconnectReason, detail: string, clean: boolean): void {
    const lasted = openedAt === 0 ? 0 : performance.now() - openedAt
    openedAt = 0
    connection = undefined
    snapshots?.cancel()
    streams?.reset()
    for (const timer of restarts.values()) clearTimeout(timer)
    restarts.clear()
    if (clean && config.on_close === 'end') {
      end.abort()
      return
    }
    counters.reconnect(reason)
    if (reason === 'stale') counters.stale.inc()
    if (lasted > config.reconnect.max_delay) attempt = 0
    const delay = Math.round(backoff(config.reconnect, attempt++, random))
    ctx.log.warn({ step: ctx.step, reason, detail, delay }, 'feed lost, connecting again')
    if (!closed) retry = setTimeout(connect, delay)
  }

  return {
    async open() {
      if (Client !== undefined) return
      tls = tlsOptions(config)
      ;({ WebSocket: Client } = await import('ws'))
      queue.open()
      const positions = await ctx.assign([{ id: lane, source: ctx.step }])
      queue.seek(positions.get(lane) as number | undefined)
      connect()
    },

    async read(signal): Promise<Batch | null> {
      const batch = await next(signal)
      if (batch === null) return null
      const { records, position, lag } = batch
      // Numbers left out are records that the queue had no room for.
      if (expected !== undefined && records[0].seq > expected) streams?.lost('dropped')
      expected = position
      return { lane, messages: records.map(received), position, lag }
    },

    async seek(_, position) {
      queue.seek(position as number | undefined)
      expected = undefined
    },

    async commit(_, position) {
      queue.commit(position as number)
    },

    caughtUp: () => queue.size === 0,
    healthy: () => end.signal.aborted || connection?.isOpen === true,

    refuse(refusals: readonly Refusal[]) {
      for (const refusal of refusals) {
        refused.note(refusal)
        // A message that is gone is a gap, wherever it went.
        const key = streams && streamOf(refusal.message, streams)
        if (key !== undefined) streams!.lost('refused', key)
      }
      // There is no sender to tell.
      return refusals
    },

    async close() {
      closed = true
      clearTimeout(retry)
      for (const timer of restarts.values()) clearTimeout(timer)
      snapshots?.cancel()
      connection?.close()
      connection = undefined
      queue.close()
    },
  }
}

/** Undefined: it is no JSON, and will be a dead letter when the pipeline finds out. */
function decoded(message: Message): unknown {
  try {
    return message.value
  } catch {
    return undefined
  }
}

/** The message may have been changed since; its bytes are still those that came. */
function streamOf({ payload, keyBytes, origin }: Message, streams: Streams): string | undefined {
  if (keyBytes !== null) return keyBytes.toString()
  const value = origin && decoded(Message.fromRecord(payload, null, 0, undefined, -1, origin))
  return value === undefined ? undefined : streams.keyOf(value)
}

const textOf = (message: Json): string => (typeof message === 'string' ? message : JSON.stringify(message))
