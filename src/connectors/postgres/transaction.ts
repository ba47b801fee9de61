/** A transaction of a lane: the writes of sinks, the state of the lane and its position. */
import { type CheckpointDelta, ConnectionError, DataError, type Transaction } from '../../contract/plugin.ts'
import type { OpenTransaction, Queryable } from '../../kit/postgres/driver.ts'

const SAVE = 'update runner_checkpoint set position = $2, updated_at = clock_timestamp() where id = $1'
const PUT_STATE = `
  insert into runner_checkpoint_state (checkpoint, store, key, json)
  select $1, * from unnest($2::text[], $3::text[], $4::text[])
  on conflict (checkpoint, store, key) do update set json = excluded.json`
const DROP_STATE = `
  delete from runner_checkpoint_state s using unnest($2::text[], $3::text[]) as d(store, key)
  where s.checkpoint = $1 and s.store = d.store and s.key = d.key`

/** Opened by a transactor, for one lane. */
export interface Claim {
  readonly id: string
  readonly epoch: string
  /** Set when a deferred constraint rejects the commit: the batch is read again, and each row is checked alone to find the wrong one. */
  diagnose: boolean
}

/** Several sinks write into it concurrently: each gets exclusive use of the connection while it needs it. */
export class PostgresTransaction implements Transaction {
  private readonly tx: OpenTransaction
  private readonly claim: Claim
  private tail: Promise<unknown> = Promise.resolve()

  /** The last commit failed because of an unknown row: constraints are checked with each write. */
  get diagnose(): boolean {
    return this.claim.diagnose
  }

  constructor(tx: OpenTransaction, claim: Claim) {
    this.tx = tx
    this.claim = claim
  }

  exclusive<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    const result = this.tail.then(() => work(this.tx))
    this.tail = result.catch(() => {})
    return result
  }

  async commit(delta: CheckpointDelta): Promise<void> {
    try {
      await this.tail
      await saveDelta(this.tx, this.claim.id, delta)
    } catch (error) {
      await this.tx.rollback()
      throw error
    }
    try {
      await this.tx.commit()
    } catch (error) {
      if (!(error instanceof DataError) || this.claim.diagnose) throw error
      // A deferred constraint: read again, and find the row that violates it.
      this.claim.diagnose = true
      throw new ConnectionError(`the commit was rejected and is retried row by row: ${error.message}`, error)
    }
    this.claim.diagnose = false
  }

  async abort(): Promise<void> {
    await this.tail
    await this.tx.rollback()
  }
}

async function saveDelta(tx: Queryable, id: string, delta: CheckpointDelta): Promise<void> {
  await tx.query(SAVE, [id, JSON.stringify(delta.position)], { prepare: true })
  // The last change of a key counts.
  const changes = new Map(delta.state.map(entry => [`${entry[0]}\0${entry[1]}`, entry]))
  const put: [string[], string[], string[]] = [[], [], []]
  const drop: [string[], string[]] = [[], []]
  for (const [store, key, json] of changes.values()) {
    const list = json === null ? drop : put
    list[0].push(store)
    list[1].push(escape(key))
    if (json !== null) put[2].push(json)
  }
  if (put[0].length > 0) await tx.query(PUT_STATE, [id, ...put], { prepare: true })
  if (drop[0].length > 0) await tx.query(DROP_STATE, [id, ...drop], { prepare: true })
}

/** Keys may contain any characters; PostgreSQL's text allows neither NUL nor unpaired surrogates. */
const escape = (key: string): string => JSON.stringify(key).slice(1, -1)
export const unescape = (text: string): string => JSON.parse(`"${text}"`) as string
