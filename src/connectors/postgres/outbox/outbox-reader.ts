/**
 * Marks and reads on one connection, one statement at a time, ahead of the pipeline. Each query starts at the oldest row and leaves out the
 * rows in progress, so a row with a low id that commits late is found by the next query.
 */
import type { PostgresOutboxSourceConfig } from '../../../generated/config-types.ts'
import { EnvironmentError, PipelineError } from '../../../contract/plugin.ts'
import { quoteName, type Session } from '../../../kit/postgres/driver.ts'
import type { Bucket } from './bucket.ts'
import { Signal } from './signal.ts'
import type { OutboxRow, Statements } from './table.ts'

/** Delay after a failed statement on a connection that is still open, ms. */
const AGAIN = 500
/** Rows in progress, in batches. */
const AHEAD = 4
/** Number of consecutive queries with results after which a NOTIFY brings no new information. */
const BUSY = 20

export class OutboxReader {
  /** The last query returned the maximum number of rows, or there was none yet. */
  more = true
  private readonly session: Session
  private readonly statements: Statements
  private readonly config: PostgresOutboxSourceConfig
  private readonly buckets: ReadonlyMap<number, Bucket>
  private readonly arrived: () => void
  private readonly failed: (error: Error) => void
  private readonly embedded: boolean
  private readonly signal = new Signal()
  private running: Promise<void> = Promise.resolve()
  private stopped = false
  /** There may be rows. */
  private hinted = true
  /** Buckets that had no room at the last query: they may have rows, too. */
  private skipped = new Set<Bucket>()
  private lastStep = 0
  private nextPoll = 0
  /** Consecutive queries with results. */
  private streak = 0
  private deaf = false

  constructor(
    session: Session,
    made: Statements,
    config: PostgresOutboxSourceConfig,
    buckets: ReadonlyMap<number, Bucket>,
    arrived: () => void,
    failed: (error: Error) => void,
    embedded: boolean,
  ) {
    this.session = session
    this.statements = made
    this.config = config
    this.buckets = buckets
    this.arrived = arrived
    this.failed = failed
    this.embedded = embedded
  }

  start(): void {
    this.running = this.run()
  }

  wake(): void {
    this.signal.fire()
  }

  /** A NOTIFY has arrived. */
  hint(): void {
    if (this.hinted) return
    this.hinted = true
    this.signal.fire()
  }

  /** The result of the last query is no longer current. */
  refresh(): void {
    this.more = true
    this.hinted = true
    this.signal.fire()
  }

  /** The last query returned nothing, and there is no sign of more rows. */
  get drained(): boolean {
    return !this.more && !this.hinted && this.skipped.size === 0 && this.total('waiting') === 0
  }

  /** Ends after the running statement and marks the rest. */
  async stop(): Promise<void> {
    this.abandon()
    await this.running
    await this.flush()
  }

  abandon(): void {
    this.stopped = true
    this.signal.fire()
  }

  /** Marks the published rows now. */
  async flush(): Promise<void> {
    const marks = this.marks()
    if (marks.size === 0) return
    await this.session.query(this.statements.mark, [[...marks.values()].flat()], { prepare: true })
    this.marked(marks)
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      const now = performance.now()
      const wants = this.wants(now)
      const marks = this.marks()
      // A full batch is followed immediately; everything else waits to be combined.
      const pause = this.more && wants ? 0 : this.lastStep + this.config.linger - now
      if (!wants && marks.size === 0) await this.signal.wait(undefined, this.hasRoom() ? Math.max(1, this.nextPoll - now) : undefined)
      else if (pause > 0) await new Promise(resolve => setTimeout(resolve, pause))
      else await this.attempt(wants, marks)
    }
  }

  private async attempt(wants: boolean, marks: ReadonlyMap<Bucket, number[]>): Promise<void> {
    this.lastStep = performance.now()
    try {
      if (wants) await this.step(marks)
      else await this.flush()
    } catch (error) {
      if (this.stopped) return
      this.hinted = true
      this.failed(error as Error)
      if (!(error instanceof PipelineError && error.retryable)) return this.abandon()
      await new Promise(resolve => setTimeout(resolve, AGAIN))
    }
  }

  private async step(marks: ReadonlyMap<Bucket, number[]>): Promise<void> {
    const { config, buckets } = this
    const limit = this.limit()
    const open = [...buckets].filter(([, b]) => hasRoom(b, limit))
    const asked = new Map(open.map(([index, bucket]) => [index, { bucket, generation: bucket.generation }]))
    this.skipped = new Set([...buckets.values()].filter(b => !b.retired && !hasRoom(b, limit)))
    const known: number[] = []
    for (const bucket of buckets.values()) bucket.collect(known)
    const all = asked.size === config.buckets
    this.hinted = false
    const params = [[...marks.values()].flat(), known, config.batch_size, ...(all ? [] : [[...asked.keys()]])]
    const { rows } = await this.session.query(this.statements.step(all), params, { prepare: true })
    this.marked(marks)
    this.more = rows.length >= config.batch_size
    // As long as rows are found, more are likely.
    if (rows.length > 0) this.hinted = true
    await this.listen(rows.length > 0)
    this.nextPoll = performance.now() + config.poll_interval
    for (const row of rows as unknown as OutboxRow[]) {
      const to = asked.get(row.bucket)
      if (to === undefined || to.generation !== to.bucket.generation) continue
      to.bucket.add({ ...row, id: idOf(row.id as unknown as string), created: row.created === null ? null : Number(row.created) })
    }
    this.arrived()
  }

  /** Thousands of notifications per second cost more than the rows that they announce: while there are rows, LISTEN is off. */
  private async listen(found: boolean): Promise<void> {
    const { channel } = this.config
    if (channel === '' || this.embedded) return
    this.streak = found ? this.streak + 1 : 0
    const deaf = this.streak > BUSY
    if (deaf === this.deaf) return
    this.deaf = deaf
    await this.session.query(`${deaf ? 'UNLISTEN' : 'LISTEN'} ${quoteName(channel)}`)
    // Rows since the last query have caused no notification.
    if (!deaf) this.hinted = true
  }

  private wants(now: number): boolean {
    if (!this.hasRoom()) return false
    if (this.hinted || now >= this.nextPoll) return true
    const limit = this.limit()
    for (const bucket of this.skipped) if (hasRoom(bucket, limit)) return true
    return false
  }

  private hasRoom(): boolean {
    const { batch_size } = this.config
    if (this.buckets.size === 0 || this.total('waiting') >= batch_size || this.total('unmarked') >= AHEAD * batch_size) return false
    const limit = this.limit()
    for (const bucket of this.buckets.values()) if (hasRoom(bucket, limit)) return true
    return false
  }

  /** Unmarked rows of one bucket: a stuck lane must not take the room of the others. */
  private limit(): number {
    return Math.ceil((AHEAD * this.config.batch_size) / Math.max(1, this.buckets.size))
  }

  private total(what: 'waiting' | 'unmarked'): number {
    let sum = 0
    for (const bucket of this.buckets.values()) sum += bucket[what]
    return sum
  }

  private marks(): Map<Bucket, number[]> {
    const marks = new Map<Bucket, number[]>()
    for (const bucket of this.buckets.values()) if (bucket.published.size > 0) marks.set(bucket, [...bucket.published])
    return marks
  }

  private marked(marks: ReadonlyMap<Bucket, number[]>): void {
    for (const [bucket, ids] of marks) for (const id of ids) bucket.published.delete(id)
  }
}

const hasRoom = (bucket: Bucket, limit: number): boolean => !bucket.retired && bucket.unmarked < limit

/** @throws {EnvironmentError} for an id that a number cannot hold: rounded, it would mark another row as published. */
function idOf(text: string): number {
  const id = Number(text)
  if (Number.isSafeInteger(id)) return id
  throw new EnvironmentError(
    `the outbox has the id ${text}, and ids must be below 2^53 (${2 ** 53}): add an identity column, and set its name under columns.id`,
  )
}
