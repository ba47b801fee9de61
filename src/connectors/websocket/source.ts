/**
 * Client of a WebSocket feed. Opening only starts to connect: of several feeds in one pipeline one that is down must not hold the
 * others up, and a feed comes and goes anyway. Until it is there the source is not healthy.
 */
import type { WebsocketSourceConfig } from '../../config.gen.ts'
import {
  type Batch,
  type CheckProblem,
  defineSource,
  type Json,
  Message,
  type Origin,
  type Refusal,
  type Source,
  type SourceContext,
} from '../../plugin.ts'
import { anyOf, type Match, matcher } from '../../transforms/lib/match.ts'
import { backoff } from './backoff.ts'
import { Connection } from './connection.ts'
import { countersOf, type ReconnectReason } from './counters.ts'
import { type Got, httpGet } from './http-get.ts'
import { probe } from './probe.ts'
import { Queue } from './queue.ts'
import { Refused } from './refused.ts'
import { Sequences } from './sequence.ts'
import { Snapshots } from './snapshots.ts'
import schema from './source.schema.json' with { type: 'json' }
import { expand, expandUrl, mentions, symbolsOf } from './template.ts'
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

/** Messages handed over at once. */
const BATCH = 1000

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
  const looks = config.format === 'json' && (config.control.length > 0 || typeof pong === 'object' || config.sequence !== undefined)

  let Client: typeof import('ws').WebSocket
  let tls: TlsOptions = {}
  let connection: Connection | undefined
  let retry: NodeJS.Timeout | undefined
  let attempt = 0
  let openedAt = 0
  let ended = false
  let closed = false
  /** Offset of the next message; goes on over restarts as far as the checkpoint knows. */
  let offset = 0
  const restarts = new Map<string, NodeJS.Timeout>()
  /** Some carry sequence numbers, so they go the way of all others up to the queue. */
  const controls = new WeakSet<Message>()

  const queue = new Queue(
    config.max_buffer,
    () => connection?.pause(),
    () => connection?.resume(),
  )

  const emit = (message: Message): void => {
    if (controls.delete(message)) {
      counters.drop('control')
      return
    }
    // Numbered as they leave: a message that was held back comes behind younger ones of other streams.
    ;(message as { offset: number }).offset = offset++
    queue.push(message)
  }
  const sequences =
    config.sequence &&
    new Sequences(
      config.sequence as never,
      {
        emit,
        fetch: key => snapshots!.request(key),
        resubscribe: key => resubscribe(key),
        reconnect: reason =>
          connection?.end(reason, reason === 'gap' ? 'a gap in the sequence' : 'max_buffered messages wait for a snapshot'),
      },
      counters,
    )
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

  const makeMessage = (payload: Buffer, key: string | null, time: number): Message =>
    Message.fromRecord(payload, key === null ? null : Buffer.from(key), time, undefined, -1, origin)

  const snapshotMessage = (key: string, { body, date }: Got): Message => makeMessage(body, key, date > 0 ? date : ctx.clock.now())

  function resubscribe(key: string): void {
    for (const text of expand((config.sequence!.resubscribe ?? config.subscribe) as Json[], [key])) connection?.send(text)
    clearTimeout(restarts.get(key))
    restarts.set(
      key,
      setTimeout(() => {
        if (sequences!.waits(key)) connection?.end('gap', `no snapshot of ${key} came after subscribing again`)
      }, config.sequence!.restart_timeout),
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
    if (isControl(value)) controls.add(message)
    else connection!.alive()
    const key = sequences?.keyOf(value)
    if (key === undefined) emit(message)
    else sequences!.accept(message, key)
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
    sequences?.reset()
    for (const timer of restarts.values()) clearTimeout(timer)
    restarts.clear()
    if (clean && config.on_close === 'end') {
      ended = true
      queue.signal()
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
      const positions = await ctx.assign([{ id: lane, source: ctx.step }])
      const position = positions.get(lane)
      offset = typeof position === 'number' ? position : 0
      connect()
    },

    async read(signal): Promise<Batch | null> {
      for (;;) {
        signal.throwIfAborted()
        if (!queue.empty) {
          const messages = queue.take(BATCH)
          return { lane, messages, position: messages.at(-1)!.offset + 1 }
        }
        if (ended) return null
        await queue.wait(signal)
      }
    },

    caughtUp: () => queue.empty,
    healthy: () => ended || connection?.isOpen === true,

    refuse(refusals: readonly Refusal[]) {
      for (const refusal of refusals) {
        refused.note(refusal)
        // A message that is gone is a gap, wherever it went.
        const key = sequences && streamOf(refusal.message, sequences)
        if (key !== undefined) sequences!.lost(key)
      }
    },

    async close() {
      closed = true
      clearTimeout(retry)
      for (const timer of restarts.values()) clearTimeout(timer)
      snapshots?.cancel()
      connection?.close()
      connection = undefined
    },
  }
}

function check(c: WebsocketSourceConfig): CheckProblem[] {
  const problems: CheckProblem[] = []
  const symbols = symbolsOf(c.symbols)
  if (symbols.length === 0 && (c.subscribe as Json[]).some(m => mentions(m, true)))
    problems.push({ path: ['subscribe'], message: '{symbol} stands for the entries of symbols, and there are none' })
  if (c.ping?.every === 0) problems.push({ path: ['ping', 'every'], message: 'must be longer than 0' })
  if (c.format !== 'json' && (c.sequence || c.control.length > 0))
    problems.push({ path: ['format'], message: 'sequence and control look at fields, which only JSON has', suggestion: 'json' })
  const s = c.sequence
  if (s?.on_gap === 'snapshot' && !s.snapshot) problems.push({ path: ['sequence'], message: 'on_gap: snapshot needs snapshot' })
  if (s?.snapshot && s.on_gap !== 'snapshot')
    problems.push({ path: ['sequence', 'snapshot'], message: `is not used with on_gap: ${s.on_gap}`, suggestion: 'on_gap: snapshot' })
  if (s?.on_gap === 'resubscribe' && !s.restart)
    problems.push({ path: ['sequence'], message: 'on_gap: resubscribe needs restart, which tells the snapshot that ends the gap' })
  if (s?.resubscribe && s.on_gap !== 'resubscribe')
    problems.push({ path: ['sequence', 'resubscribe'], message: `is not used with on_gap: ${s.on_gap}`, suggestion: 'on_gap: resubscribe' })
  return problems
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
function streamOf({ payload, keyBytes, origin }: Message, sequences: Sequences): string | undefined {
  if (keyBytes !== null) return keyBytes.toString()
  return origin && sequences.keyOf(decoded(Message.fromRecord(payload, null, 0, undefined, -1, origin)))
}

const textOf = (message: Json): string => (typeof message === 'string' ? message : JSON.stringify(message))
