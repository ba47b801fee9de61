/**
 * Receives rows by HTTP POST. This file runs the life of a request: authenticate, receive, check for a repeat, split into rows, read,
 * commit, answer. The parts are in `source/`; their order, and what happens when the run ends in between, is here, which makes this file
 * long.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HttpSourceConfig } from '../../generated/config-types.ts'
import {
  type ConfigProblem,
  DecodeError,
  defineSource,
  type Header,
  type Origin,
  type Source,
  type SourceContext,
} from '../../contract/plugin.ts'
import type { Attachment, Route } from '../../kit/http/listener.ts'
import { accepted, type Answer, busy, rejectionAnswer, send, stopping, unknown } from './source/answer.ts'
import { validateAuth, createAuth, isOpen } from './source/auth.ts'
import { logOnce } from '../../kit/said-once.ts'
import { AuthFailure } from './source/signature.ts'
import { Intake, total } from './source/intake.ts'
import { discard, receive, Receiving } from './source/receive.ts'
import { IdempotentRequests } from './source/idempotent-requests.ts'
import { requestFile, RequestJournal } from './source/request-journal.ts'
import { RejectionLog } from './source/rejection-log.ts'
import { countsOf, cut, formatOf, messagesOf } from './source/rows.ts'
import { JsonError, TooManyElementsError } from '../../contract/json-scan.ts'
import { isLoopback } from '../../kit/http/loopback.ts'
import { checkPort } from '../../kit/http/check-port.ts'
import { checkWritable } from '../../kit/check-writable.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import hosts from '../../kit/keys/hosts.schema.json' with { type: 'json' }
import schema from './source.schema.json' with { type: 'json' }

export default defineSource<HttpSourceConfig>({
  type: 'http',
  schema: withKeys(schema, hosts),
  replayable: false,
  shares: true,
  awaitsCommit: c => c.answer === 'when_written',
  reason: c =>
    (c.answer === 'at_once'
      ? 'requests are answered before they are written, so records in memory are lost if the process ends'
      : 'a request is kept only in memory, but is answered after its rows are committed: a sender that repeats requests without a 2xx response loses nothing') +
    repeats(c),
  validateConfig,
  check: async c => [
    ...(await checkPort(c)),
    ...(remembers(c) && c.remember === 'disk'
      ? [checkWritable(`file of answered requests ${requestFile()}`, requestFile(), 'exists')]
      : []),
  ],
  create: (config, ctx) => new HttpSource(config, ctx),
})

/** Messages read at once; a little more when a request has more. */
const BATCH = 1000
/** Offsets start at the time of the start, so that two runs have different offsets. */
const PER_MS = 1000
/** ms */
const CLOSE_GRACE = 1000
/** For signed requests, unless `idempotency_key` sets it. */
const REMEMBERED = { ttl: 86_400_000, max: 100_000 }

const knowsReplays = ({ auth }: HttpSourceConfig): boolean => auth.replays === 'answer' && createAuth(auth).scheme !== undefined
const remembers = (c: HttpSourceConfig): boolean => c.idempotency_key !== undefined || knowsReplays(c)

/** What `explain` prints about repeated requests. */
function repeats(c: HttpSourceConfig): string {
  if (!remembers(c)) return ''
  const what = [knowsReplays(c) && 'replays of signed requests', c.idempotency_key && 'repeats of an idempotency key']
    .filter(Boolean)
    .join(' and ')
  if (c.remember === 'memory') return `; ${what} are detected until the process ends, and written again after a restart`
  return `; ${what} are detected across restarts on this machine, from http-requests.db in the state directory; the exception is a request whose process was killed after its rows were written and before it was answered`
}

function validateConfig(config: HttpSourceConfig): ConfigProblem[] {
  const problems = validateAuth(config.auth)
  if (!isLoopback(config.host) && isOpen(config.auth) && !config.allow_unauthenticated) {
    problems.push({
      path: ['host'],
      message: `${config.host} is reachable from other machines, and any of them could post: set auth, or allow_unauthenticated: true`,
      suggestion: '127.0.0.1',
    })
  }
  if (config.field !== undefined && config.format !== 'json') problems.push({ path: ['field'], message: 'needs format: json' })
  if (config.key !== undefined && (config.format === 'text' || config.format === 'bytes'))
    problems.push({ path: ['key'], message: `format: ${config.format} has no fields; use key_header instead` })
  if (config.key !== undefined && config.key_header !== undefined)
    problems.push({ path: ['key_header'], message: 'set either key or key_header, not both' })
  return problems
}

class HttpSource implements Source {
  readonly commitImmediately: boolean
  readonly reject: Source['reject']
  private readonly config: HttpSourceConfig
  private readonly ctx: SourceContext
  private readonly lane: string
  private readonly origin: Origin
  private readonly intake: Intake
  private readonly auth: ReturnType<typeof createAuth>
  private readonly idempotentRequests: IdempotentRequests | undefined
  /** By signed content. */
  private readonly replays: IdempotentRequests | undefined
  /** Kept across processes: the name and ttl (ms) of each. */
  private readonly stores: [requests: IdempotentRequests, name: string, ttl: number][] = []
  private journal: RequestJournal | undefined
  private readonly rejections: RejectionLog
  private readonly idempotency: { readonly header: string; readonly required: boolean } | undefined
  private readonly receiving = new Receiving()
  private readonly answering = new Set<Promise<void>>()
  private attachment: Attachment | undefined
  private draining = false
  private waiting = false

  constructor(config: HttpSourceConfig, ctx: SourceContext) {
    this.config = config
    this.ctx = ctx
    this.lane = `${ctx.step}${config.path}`
    this.origin = { lane: this.lane, source: ctx.step, format: formatOf(config.format) }
    this.auth = createAuth(config.auth)
    const { scheme, tolerance } = this.auth
    const idempotency = config.idempotency_key
    const header = idempotency?.header ?? scheme?.idHeader
    this.idempotency = header === undefined ? undefined : { header: header.toLowerCase(), required: idempotency?.required ?? false }
    if (idempotency) {
      this.idempotentRequests = new IdempotentRequests({ ...idempotency, onForgotten: answerForgotten(ctx) })
      this.stores.push([this.idempotentRequests, 'key', idempotency.ttl])
    }
    if (scheme && config.auth.replays === 'answer') {
      const { ttl, max } = idempotency ?? REMEMBERED
      const keep = tolerance === undefined ? undefined : 2 * tolerance + 1000
      // If a time is signed, an older request does not get this far; only an id of the sender needs to be remembered longer.
      const remembered = Math.max(keep ?? 0, keep === undefined || scheme.idHeader ? ttl : 0)
      this.replays = new IdempotentRequests({ ttl: remembered, max, keep, onForgotten: replayForgotten(ctx) })
      this.stores.push([this.replays, 'signed', remembered])
    }
    this.rejections = new RejectionLog(ctx, config.path)
    // Dry runs and backfills do not commit, so a request cannot wait for the commit.
    this.commitImmediately = config.answer === 'when_written' && ctx.range === undefined
    this.intake = new Intake(
      { messages: config.max_pending, bytes: config.max_pending_bytes },
      this.receiving.account,
      !this.commitImmediately,
    )
    if (this.commitImmediately) this.reject = rejections => this.intake.reject(rejections)
  }

  async open(signal: AbortSignal): Promise<void> {
    const { attach } = await import('../../kit/http/listener.ts')
    const { host, port, path, methods } = this.config
    const positions = await this.ctx.assign([{ id: this.lane, source: this.ctx.step }])
    this.intake.next = Math.max(this.ctx.clock.now() * PER_MS, (positions.get(this.lane) as number | undefined) ?? 0)
    await this.restore()
    signal.addEventListener('abort', () => this.drain(), { once: true })
    const owner = `source '${this.ctx.step}' of pipeline '${this.ctx.pipeline}'`
    const handle = (request: IncomingMessage, response: ServerResponse): Promise<void> => this.handle(request, response)
    const { auth, hosts, origins } = this.config
    const access = { authenticated: !isOpen(auth), hosts, origins }
    const rejected: Route['rejected'] = (rejection, request) => {
      this.count(rejection.status)
      this.rejections.gate(rejection, request)
    }
    this.attachment = await attach(host, port, [{ methods, path, owner, handle, access, rejected }], {
      what: owner,
      advice: 'Set port to a free one.',
    })
    this.gauge()
  }

  /** Dry runs and backfills store nothing. */
  private async restore(): Promise<void> {
    const { config, ctx, stores } = this
    if (this.journal || stores.length === 0 || config.remember === 'memory' || ctx.range !== undefined) return
    const now = ctx.clock.now()
    const journal = await RequestJournal.open(now, notKept(ctx))
    this.journal = journal
    for (const [requests, name, ttl] of stores) {
      const owner = `${ctx.pipeline}/${this.lane}#${name}`
      requests.restore(
        {
          load: () => journal.load(owner),
          put: request => journal.put(owner, request, ttl),
          drop: key => journal.drop(owner, key),
        },
        now,
      )
    }
  }

  async read(signal: AbortSignal): ReturnType<Source['read']> {
    this.waiting = this.intake.idle
    const { messages, end, left } = await this.intake.take(BATCH, signal)
    this.waiting = false
    if (!this.commitImmediately) this.intake.commit(end)
    return { lane: this.lane, messages, position: end, lag: left }
  }

  async commit(_lane: string, position: number): Promise<void> {
    this.intake.commit(position)
    this.gauge()
  }

  caughtUp(): boolean {
    return this.waiting && this.intake.idle
  }

  healthy(): boolean {
    return this.attachment !== undefined
  }

  async close(): Promise<void> {
    this.drain()
    this.intake.abandon()
    // Responses are sent before their connections close; a sender in the middle of its body gets only a short time.
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, CLOSE_GRACE)
    await Promise.race([Promise.allSettled(this.answering), late.promise])
    clearTimeout(timer)
    await this.attachment?.detach()
    this.attachment = undefined
    await this.journal?.close()
    this.journal = undefined
    this.rejections.close()
  }

  private drain(): void {
    this.draining = true
    this.intake.stop()
  }

  private handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answered = this.answer(request, response).then(async answer => {
      if (!answer) return
      this.count(answer.status)
      discard(request)
      await send(response, answer, this.draining || !request.complete)
    })
    this.answering.add(answered)
    return answered.finally(() => this.answering.delete(answered))
  }

  /** Undefined: the sender disconnected before its request was complete. */
  private async answer(request: IncomingMessage, response: ServerResponse): Promise<Answer | undefined> {
    const { config, auth, intake, ctx } = this
    const { headers } = request
    if (this.draining) return stopping()
    const early = auth.before(headers)
    if (early !== undefined) return this.unauthorized(early, request)
    const encoding = headers['content-encoding']
    if (encoding !== undefined && encoding !== 'identity')
      return rejectionAnswer(415, 'encoding', `send the body without content-encoding, not as ${encoding}`)
    const body = await receive(request, response, this.receiving, {
      max: config.max_body,
      room: (bytes, bodies) => intake.receives(bytes, bodies),
    })
    if (!Buffer.isBuffer(body)) return body
    const signed = auth.after(headers, body, ctx.clock.now())
    if (signed instanceof AuthFailure) return this.unauthorized(signed, request)
    if (this.draining) return stopping()

    const { idempotency, idempotentRequests, replays } = this
    const header = idempotency && headers[idempotency.header]
    if (idempotency?.required && !header) return rejectionAnswer(400, 'no_idempotency_key', `header ${idempotency.header} is missing`)
    const key = typeof header === 'string' && header !== '' ? header : undefined
    // A header that is not signed may differ between copies of a request, so the signed content is checked first.
    const take = (): Promise<Answer> => this.once(idempotentRequests, key, body, () => this.take(body, request))
    if (signed === undefined || !replays) return this.inTime(take())
    return this.inTime(this.once(replays, signed, body, take, () => this.rejections.replay(request)))
  }

  private once(
    seen: IdempotentRequests | undefined,
    key: string | undefined,
    body: Buffer,
    run: () => Promise<Answer>,
    onRepeat?: () => void,
  ): Promise<Answer> {
    if (!seen || key === undefined) return run()
    const { outcome, repeated } = seen.once(key, body, () => this.ctx.clock.now(), run)
    if (repeated) {
      onRepeat?.()
      this.ctx.metrics
        .counter(
          'http_repeated_requests_total',
          'Requests answered with the response of an earlier request with the same idempotency key or signature',
          {
            path: this.config.path,
          },
        )
        .inc()
    }
    return outcome
  }

  private unauthorized(failure: AuthFailure, request: IncomingMessage): Answer {
    this.rejections.failure(failure, request)
    const challenge = this.auth.scheme ? undefined : { 'www-authenticate': 'Bearer' }
    return rejectionAnswer(401, 'unauthorized', failure.message, {}, challenge)
  }

  /** Resolves when the rows are committed, or the body is rejected. */
  private async take(body: Buffer, request: IncomingMessage): Promise<Answer> {
    const { config, intake, ctx } = this
    let rows: Buffer[]
    let counts: number[] | undefined
    try {
      rows = cut(body, config, ctx.depth)
      counts = config.count === undefined ? undefined : countsOf(rows, config.count, ctx.depth)
    } catch (error) {
      if (error instanceof TooManyElementsError)
        return rejectionAnswer(
          413,
          'too_many_rows',
          `the body has ${error.message}: send fewer rows in one request, or raise limits.messages`,
        )
      if (error instanceof JsonError) {
        const { line, column, offset, message } = error
        return rejectionAnswer(400, 'not_json', `the body is not JSON: ${message} (line ${line}, column ${column})`, {
          line,
          column,
          offset,
        })
      }
      if (error instanceof DecodeError) return rejectionAnswer(400, 'no_rows', error.message)
      throw error
    }
    if (!intake.fits(rows.length)) return busy('too many requests are waiting to be written: retry later')
    const facts = {
      time: ctx.clock.now(),
      key: this.keyOf(request),
      headers: this.headersOf(request),
      origin: this.origin,
      depth: ctx.depth,
    }
    const indexHeader = this.idempotency && 'idempotency-index'
    const written = intake.put(rows.length, body.length, first => messagesOf(rows, config, { ...facts, indexHeader, first }), counts)
    this.gauge()
    if (this.commitImmediately) return written
    return this.draining ? stopping() : accepted(202, counts ? total(counts) : rows.length)
  }

  private async inTime(outcome: Promise<Answer>): Promise<Answer> {
    const { answer_timeout } = this.config
    const late = Promise.withResolvers<Answer>()
    const timer = setTimeout(() => late.resolve(unknown(`not committed within ${answer_timeout / 1000} s`)), answer_timeout)
    return Promise.race([outcome, late.promise]).finally(() => clearTimeout(timer))
  }

  private keyOf(request: IncomingMessage): Buffer | null {
    const { key_header } = this.config
    const value = key_header && request.headers[key_header.toLowerCase()]
    return typeof value === 'string' && value !== '' ? Buffer.from(value, 'latin1') : null
  }

  /** The bytes received: Node.js decodes each byte of a header as one character, which written as UTF-8 would be two bytes. */
  private headersOf(request: IncomingMessage): Header[] {
    const names = new Set(this.config.headers.map(h => h.toLowerCase()))
    if (this.idempotency) names.add(this.idempotency.header)
    const kept: Header[] = []
    for (const name of names) {
      const value = request.headers[name]
      if (value === undefined) continue
      const text = typeof value === 'string' ? value : value.join(', ')
      kept.push([name, /[\x80-\xff]/.test(text) ? Buffer.from(text, 'latin1') : text])
    }
    return kept
  }

  private count(status: number): void {
    const labels = { path: this.config.path, status: String(status) }
    this.ctx.metrics.counter('http_requests_total', 'Requests, by response status', labels).inc()
  }

  private gauge(): void {
    this.ctx.metrics
      .gauge('http_pending_messages', 'Messages of requests that wait for their commit', { path: this.config.path })
      .set(this.intake.pending)
  }
}

/** Counts each call, and logs the first. */
function countOnce(ctx: SourceContext, name: string, help: string, loss?: string): (message: string, details?: object) => void {
  const count = ctx.metrics.counter(name, help, { step: ctx.step }, loss)
  const say = logOnce(ctx.log, ctx.step)
  return (message, details) => {
    count.inc()
    say(() => ({ details, message }))
  }
}

function answerForgotten(ctx: SourceContext): () => void {
  const say = countOnce(
    ctx,
    'runner_http_answers_forgotten_total',
    'Answers to idempotency keys forgotten before their ttl',
    'forgotten_answers',
  )
  return () =>
    say(
      'removed the response for an idempotency key before its ttl, because idempotency_key.max responses or 16 MiB of them are stored: a repeat of that request would be written again; raise max or shorten ttl',
    )
}

function replayForgotten(ctx: SourceContext): () => void {
  const say = countOnce(
    ctx,
    'runner_http_replays_forgotten_total',
    'Signed requests forgotten while a replay of them would still be accepted',
    'forgotten_requests',
  )
  return () =>
    say(
      'forgot a signed request while a replay of it would still be accepted, because idempotency_key.max requests (100,000 by default) or 16 MiB of responses are stored: the replay would be written again; set idempotency_key with a higher max or a shorter ttl',
    )
}

function notKept(ctx: SourceContext): (error: Error) => void {
  const say = countOnce(ctx, 'runner_http_journal_errors_total', 'Writes of answered requests to the state directory that failed')
  return error =>
    say(
      `could not store the answered requests: ${error.message}; after a restart, repeats and replays of them would be written again, unless a later write succeeds`,
    )
}
