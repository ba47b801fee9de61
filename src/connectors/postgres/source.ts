/** Rows of a query, in the order of a cursor: once, or repeatedly for new rows. */
import type { PostgresSourceConfig } from '../../generated/config-types.ts'
import {
  type Batch,
  type ConfigProblem,
  ConnectionError,
  DataError,
  defineSource,
  EnvironmentError,
  Message,
  type Position,
  type Source,
  type SourceContext,
} from '../../contract/plugin.ts'
import { validateConnection, connectionKeys, type ConnectionConfig, connect, type PostgresHandle } from '../../kit/postgres/connect.ts'
import { quoteName, quoteTable, type Param, type Result } from '../../kit/postgres/driver.ts'
import { checkColumns, jsonText } from './json.ts'
import { checkDatabase } from './check.ts'
import { show } from '../../kit/values/fields.ts'
import { MAX_TIME } from '../../kit/values/time.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import schema from './source.schema.json' with { type: 'json' }

export default defineSource<PostgresSourceConfig>({
  type: 'postgres',
  datedByRead: c => c.time === undefined,
  schema: withKeys(schema, connectionKeys),
  replayable: true,
  ranged: config => config.time !== undefined,
  reason: 'rows can be read again by their cursor',
  validateConfig,
  create: (config, ctx) => new PostgresSource(config, ctx),
  check: (config, ctx) =>
    checkDatabase(connection(config), ctx, config.table === undefined ? [] : [{ table: config.table, rights: ['SELECT'] }]),
})

const connection = (config: PostgresSourceConfig): ConnectionConfig => config as ConnectionConfig

/** Texts of the cursor columns of the last row read, and the number of rows read before. */
interface Cursor {
  readonly after: readonly string[] | null
  readonly row: number
}

class PostgresSource implements Source {
  private readonly config: PostgresSourceConfig
  private readonly ctx: SourceContext
  private readonly lane: string
  private readonly sql: (first: boolean, limit: number) => string
  private handle: PostgresHandle | undefined
  private cursor: Cursor = { after: null, row: 0 }
  /** When the last query that returned all remaining rows was sent: `clock.monotonic()`. */
  private emptyAt: number | undefined
  private seeks = 0
  /** When the query in progress was sent: `clock.monotonic()`. */
  private askedAt: number | undefined

  constructor(config: PostgresSourceConfig, ctx: SourceContext) {
    this.config = config
    this.ctx = ctx
    this.lane = ctx.step
    this.sql = statements(config, ctx.range)
  }

  async open(): Promise<void> {
    this.handle ??= await connect(connection(this.config), this.ctx.log)
    const positions = await this.ctx.assign([{ id: this.lane, source: this.ctx.step }])
    await this.seek(this.lane, positions.get(this.lane))
  }

  async read(signal: AbortSignal): Promise<Batch | null> {
    for (;;) {
      signal.throwIfAborted()
      const { seeks } = this
      const batch = await this.next()
      signal.throwIfAborted()
      // The source was restored during the query.
      if (seeks !== this.seeks) continue
      if (batch) {
        this.cursor = batch.position as unknown as Cursor
        return batch
      }
      if (this.config.mode === 'once') return null
      await pause(this.config.interval, signal)
    }
  }

  seek(_lane: string, position: Position | undefined): Promise<void> {
    this.seeks++
    this.emptyAt = undefined
    this.cursor = (position as Cursor | undefined) ?? { after: null, row: 0 }
    return Promise.resolve()
  }

  caughtUp(): number | false {
    return this.emptyAt ?? false
  }

  healthy(): boolean | string {
    // The database may respond on other connections.
    if (this.askedAt !== undefined && this.ctx.clock.monotonic() - this.askedAt > SILENCE) return 'no answer to the query'
    return this.handle?.driver.healthy() ?? false
  }

  async close(): Promise<void> {
    const { handle } = this
    this.handle = undefined
    await handle?.release()
  }

  private async next(): Promise<Batch | undefined> {
    if (this.handle === undefined) throw new ConnectionError('the source is not open')
    const { cursor, batch_size: limit, numbers, key, time } = this.config
    const { after, row: from } = this.cursor
    const start = this.config.start === undefined ? undefined : [this.config.start].flat().map(String)
    const values: readonly Param[] = after ?? start ?? []
    const asked = this.ctx.clock.monotonic()
    // One more than needed: a batch must not end between rows with the same cursor.
    this.askedAt = asked
    const found = await this.handle.driver
      .query(this.sql(values.length === 0, limit + 1), values, { prepare: true })
      .finally(() => (this.askedAt = undefined))
    checkColumns(found.fields, this.ctx.step)
    const columns = [cursor].flat()
    const rows = whole(found, columns, limit)
    this.emptyAt = found.rows.length > rows.length ? undefined : asked
    if (rows.length === 0) return undefined
    const origin = { lane: this.lane, source: this.ctx.step, format: 'json' as const }
    const fields = found.fields.filter(f => !f.name.startsWith(CURSOR) && f.name !== TIME)
    const now = this.ctx.clock.now()
    const messages = rows.map((row, i) => {
      const name = key === undefined ? null : row[key]
      const keyBytes = name === null || name === undefined ? null : Buffer.from(String(name))
      const at = time === undefined || row[TIME] === null ? now : Math.floor(Number(row[TIME]))
      const isTime = Math.abs(at) <= MAX_TIME
      const bytes = Buffer.from(jsonText(fields, row, numbers === 'json'))
      const message = Message.fromRecord(bytes, keyBytes, isTime ? at : now, undefined, from + i, origin)
      if (!isTime)
        message.failure = new DataError(
          `column ${time} is ${show(row[time!])}, which is not a time: leave such rows out with a condition in query, or remove \`time\``,
        )
      return message
    })
    const last = rows.at(-1)!
    const position: Cursor = { after: columns.map((_, i) => String(last[`${CURSOR}${i}`])), row: from + rows.length }
    return { lane: this.lane, messages, position: position as unknown as Position }
  }
}

/** A query without an answer for this long counts as a problem, ms, as a write of a sink does. */
const SILENCE = 8_000
const CURSOR = 'runner cursor '
const TIME = 'runner time'

function statements(config: PostgresSourceConfig, range: SourceContext['range']): (first: boolean, limit: number) => string {
  const columns = [config.cursor].flat().map(c => `q.${quoteName(c)}`)
  const from = config.table === undefined ? `(${config.query!.trim().replace(/;\s*$/, '')}\n)` : quoteTable(config.table)
  const extra = columns.map((c, i) => `${c}::text as "${CURSOR}${i}"`)
  const conditions: string[] = []
  if (config.time !== undefined) {
    const time = `q.${quoteName(config.time)}`
    extra.push(`extract(epoch from ${time}) * 1000 as "${TIME}"`)
    if (range?.from !== undefined) conditions.push(`${time} >= to_timestamp(${range.from / 1000})`)
    if (range?.to !== undefined) conditions.push(`${time} < to_timestamp(${range.to / 1000})`)
  }
  const after = columns.length === 1 ? `${columns[0]} > $1` : `(${columns.join(', ')}) > (${columns.map((_, i) => `$${i + 1}`).join(', ')})`
  return (first, limit) => {
    // NULL sorts after everything and compares with nothing: rows with a NULL cursor are left out.
    const where = [...columns.map(c => `${c} is not null`), ...conditions, ...(first ? [] : [after])]
    return `select q.*, ${extra.join(', ')} from ${from} as q where ${where.join(' and ')} order by ${columns.join(', ')} limit ${limit}`
  }
}

/** At most `limit` rows; rows with the same cursor are included together or not at all. */
function whole({ rows }: Result, columns: readonly string[], limit: number): Result['rows'] {
  if (rows.length <= limit) return rows
  const cursorOf = (i: number): string => columns.map((_, n) => String(rows[i][`${CURSOR}${n}`])).join('\0')
  let end = limit
  while (end > 0 && cursorOf(end - 1) === cursorOf(limit)) end--
  if (end > 0) return rows.slice(0, end)
  throw new EnvironmentError(
    `more than ${limit} rows have the same cursor (${columns.join(', ')}): add a column to the cursor that makes it unique, such as the primary key, or raise batch_size`,
  )
}

function validateConfig(config: PostgresSourceConfig): ConfigProblem[] {
  const problems = validateConnection(connection(config))
  const { table, query, cursor, start, mode, interval } = config
  if (table === undefined && query === undefined) problems.push({ path: [], message: 'set table or query' })
  if (table !== undefined && query !== undefined) problems.push({ path: ['query'], message: 'set either table or query, not both' })
  if (start !== undefined && [start].flat().length !== [cursor].flat().length)
    problems.push({ path: ['start'], message: 'must have one value for each column of the cursor' })
  if (mode === 'poll' && interval === 0) problems.push({ path: ['interval'], message: 'must be greater than 0', suggestion: '1s' })
  return problems
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort)
      resolve()
    }, ms)
    signal.addEventListener('abort', abort, { once: true })
  })
}
