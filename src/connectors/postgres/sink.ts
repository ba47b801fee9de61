import type { PostgresSinkConfig } from '../../generated/config-types.ts'
import {
  BatchError,
  type ConfigProblem,
  ConnectionError,
  type Context,
  DataError,
  defineSink,
  encodeJson,
  type LaneInfo,
  type Message,
  type Sink,
  type WriteContext,
} from '../../contract/plugin.ts'
import {
  validateConnection,
  connectionKeys,
  type ConnectionConfig,
  connect,
  type PostgresHandle,
  scopeOf,
} from '../../kit/postgres/connect.ts'
import type { Queryable } from '../../kit/postgres/driver.ts'
import { stateOwner } from '../../kit/state-owner.ts'
import { assertFence, claimFence, type FenceRow } from './fence.ts'
import { checkDatabase } from './check.ts'
import { bodyOf, validateTable, columnNames, rowPreview, tableCommand } from './rows.ts'
import { validateStatement, jsonOf, statementCommand } from './statements.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import schema from './sink.schema.json' with { type: 'json' }
import { assertTable } from './table.ts'
import type { PostgresTransaction } from './transaction.ts'
import { PostgresTransactor } from './transactor.ts'
import { type Command, execute, executeApart, portions } from './write.ts'

export default defineSink<PostgresSinkConfig>({
  type: 'postgres',
  schema: withKeys(schema, connectionKeys),
  onRedelivery: c => (c.key !== undefined || c.idempotent ? 'idempotent' : 'appends'),
  reason: c =>
    c.key !== undefined
      ? `a repeated write ${c.on_conflict === 'update' ? 'overwrites the row' : 'is skipped'} by key (${c.key.join(', ')})`
      : c.idempotent
        ? 'the statements are declared idempotent'
        : 'a repeated write adds rows; set `key`, or use delivery: exactly_once',
  transactions: {
    scope: c => scopeOf(c),
    create: (config, context) => new PostgresTransactor(connection(config), context),
  },
  validateConfig,
  fence: () =>
    'is rejected by the database: each write locks and compares a row of its lane in runner_fence; a warning is logged if the user may not create that table',
  preview: previewOf,
  create: (config, ctx) => new PostgresSink(config, ctx),
  check: (config, ctx) =>
    checkDatabase(connection(config), ctx, config.table === undefined ? [] : [{ table: config.table, rights: rightsOf(config) }]),
})

/** The schema's types also include the texts that represent numbers. */
const connection = (config: PostgresSinkConfig): ConnectionConfig => config as ConnectionConfig

class PostgresSink implements Sink {
  private readonly config: PostgresSinkConfig
  private readonly ctx: Context
  private readonly commands: readonly Command[]
  private readonly written: { inc(n?: number): void }
  private readonly rejects: ((m: Message) => void) | undefined
  /**
   * A statement that arrives late on a stalled connection, after it was repeated elsewhere, could replace newer rows. In a transaction it
   * cannot: the COMMIT is sent only after its response.
   */
  private readonly overwrites: boolean
  /** By lane: the token that its writes present. */
  private readonly fences = new Map<string, FenceRow>()
  private saidUnfenced = false
  private handle: PostgresHandle | undefined

  constructor(config: PostgresSinkConfig, ctx: Context) {
    this.config = config
    this.ctx = ctx
    this.commands = config.statements ? config.statements.map(s => statementCommand(s)) : [tableCommand(config)]
    this.overwrites = config.statements !== undefined || (config.key !== undefined && config.on_conflict === 'update')
    this.rejects = config.statements ? undefined : m => void bodyOf(m)
    this.written = ctx.metrics.counter('postgres_messages_written_total', 'Messages written to PostgreSQL.', { table: config.table ?? '' })
  }

  async open(): Promise<void> {
    this.handle ??= await connect(connection(this.config), this.ctx.log)
    if (this.config.table !== undefined) await assertTable(this.handle.driver, this.config.table, columnNames(this.config.columns))
  }

  async write(messages: readonly Message[], context: WriteContext): Promise<void> {
    const failed = new Map<number, Error>()
    const usable = this.rejects ? messages.filter((m, i) => this.accepts(m, i, failed)) : messages
    /** The indexes of `usable` in `messages`. */
    const indexes = usable === messages || failed.size === 0 ? undefined : [...messages.keys()].filter(i => !failed.has(i))
    const rejected = new Map<number, Error>()
    if (usable.length > 0) {
      if (context.transaction) {
        const transaction = context.transaction as PostgresTransaction
        await transaction.exclusive(async tx => {
          for (const items of portions(usable)) await executeApart(tx, this.commands, items, rejected, transaction.diagnose)
        })
      } else await this.writeAlone(usable, rejected, context)
    }
    for (const [i, error] of rejected) failed.set(indexes ? indexes[i] : i, error)
    this.written.inc(messages.length - failed.size)
    if (failed.size > 0) throw new BatchError(failed)
  }

  healthy(): boolean | string {
    return this.handle?.driver.healthy() ?? false
  }

  async close(): Promise<void> {
    const { handle } = this
    this.handle = undefined
    await handle?.release()
  }

  private accepts(m: Message, i: number, failed: Map<number, Error>): boolean {
    try {
      this.rejects!(m)
      return true
    } catch (error) {
      failed.set(i, error as Error)
      return false
    }
  }

  async claim(lane: LaneInfo): Promise<void> {
    if (this.handle === undefined) throw new ConnectionError('the sink is not open')
    const { pipeline, version, step } = this.ctx
    const token = await claimFence(this.handle.driver, `${stateOwner(`${pipeline}.${version}`, lane.group)}:${step}`, lane.id)
    if (token !== undefined) this.fences.set(lane.id, token)
    else {
      this.fences.delete(lane.id)
      if (!this.saidUnfenced)
        this.ctx.log.warn(
          { step },
          'writes are not fenced: this user may not create the table runner_fence, so an instance that has lost a lane may finish a ' +
            'write that it has started. Grant create on the schema, or create the table and grant select, insert and update on it',
        )
      this.saidUnfenced = true
    }
  }

  private async writeAlone(messages: readonly Message[], rejected: Map<number, Error>, context: WriteContext): Promise<void> {
    if (this.handle === undefined) throw new ConnectionError('the sink is not open')
    const { driver } = this.handle
    const fence = this.fences.get(context.lane.id)
    const inTransaction = (work: (tx: Queryable) => Promise<void>): Promise<void> =>
      driver.transaction(async tx => {
        if (fence) await assertFence(tx, fence)
        await work(tx)
      })
    const single = this.commands.length === 1 && this.commands[0].params !== undefined
    for (const items of portions(messages)) {
      context.assertOwned?.()
      try {
        // A single statement is a transaction of its own.
        if (single && !fence && (driver.embedded || !this.overwrites)) await execute(driver, this.commands, items)
        else await inTransaction(tx => execute(tx, this.commands, items))
      } catch (error) {
        if (!(error instanceof DataError)) throw error
        const mine = new Map<number, Error>()
        await inTransaction(tx => executeApart(tx, this.commands, items, mine, true))
        for (const [i, cause] of mine) rejected.set(i, cause)
      }
      context.progress?.()
    }
  }
}

function validateConfig(config: PostgresSinkConfig): ConfigProblem[] {
  const problems = validateConnection(connection(config))
  const { table, statements, columns, key, idempotent } = config
  if (table === undefined && statements === undefined) problems.push({ path: [], message: 'set table or statements' })
  if (table !== undefined && statements !== undefined)
    problems.push({ path: ['statements'], message: 'set either table or statements, not both' })
  if (statements !== undefined) {
    for (const [name, given] of Object.entries({ columns, key }))
      if (given !== undefined) problems.push({ path: [name], message: `${name} works with table, not with statements` })
    statements.forEach((s, i) => problems.push(...validateStatement(s).map(p => ({ ...p, path: ['statements', i, ...p.path] }))))
  } else if (table !== undefined) {
    problems.push(...validateTable(config))
    if (idempotent) problems.push({ path: ['idempotent'], message: 'works with statements only; a table is idempotent by its key' })
  }
  return problems
}

function previewOf(config: PostgresSinkConfig): (m: Message) => { topic?: string; key: string | null; value: string } {
  if (config.statements !== undefined) return m => ({ key: m.key, value: jsonOf(m) })
  const row = rowPreview(config)
  return m => {
    const { key, row: value } = row(m)
    return { topic: config.table, key, value: encodeJson(value) }
  }
}

const rightsOf = ({ key, on_conflict }: PostgresSinkConfig): string[] =>
  key === undefined ? ['INSERT'] : on_conflict === 'update' ? ['INSERT', 'UPDATE', 'SELECT'] : ['INSERT', 'SELECT']
