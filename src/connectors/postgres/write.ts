/** Writes messages by statements; if the data of some messages in a batch is wrong, the others are still written. */
import { DataError, type Message } from '../../contract/plugin.ts'
import type { Param, Queryable } from '../../kit/postgres/driver.ts'

/** One statement, for a whole batch or for each message. */
export type Command = { readonly sql: string } & (
  | { readonly params: (messages: readonly Message[]) => Param[]; readonly each?: undefined }
  | { readonly each: (m: Message) => Param[]; readonly params?: undefined }
)

/** Maximum number of messages and bytes of JSON in one statement. */
const MOST = 5_000
const MOST_BYTES = 8 * 1024 * 1024

interface Item {
  readonly message: Message
  readonly index: number
}

/** Splits the messages of one write into portions that fit one statement. */
export function portions(messages: readonly Message[]): Item[][] {
  const all: Item[][] = []
  let current: Item[] = []
  let bytes = 0
  messages.forEach((message, index) => {
    const size = message.payload?.length ?? 500
    if (current.length >= MOST || (current.length > 0 && bytes + size > MOST_BYTES)) {
      all.push(current)
      current = []
      bytes = 0
    }
    current.push({ message, index })
    bytes += size
  })
  if (current.length > 0) all.push(current)
  return all
}

/** @throws {DataError} when the data of a message is wrong; the error does not identify the message. */
export async function execute(db: Queryable, commands: readonly Command[], items: readonly Item[]): Promise<void> {
  const messages = items.map(i => i.message)
  for (const { sql, params, each } of commands) {
    if (params) await db.query(sql, params(messages), { prepare: true })
    else for (const m of messages) await db.query(sql, each(m), { prepare: true })
  }
}

/**
 * In a transaction: splits the batch in halves until the wrong messages are isolated, and undoes only those. `deferred`: deferred
 * constraints are checked with each portion instead of at the commit.
 */
export async function executeApart(
  tx: Queryable,
  commands: readonly Command[],
  items: readonly Item[],
  failed: Map<number, Error>,
  deferred: boolean,
): Promise<void> {
  await tx.query('savepoint rows')
  try {
    await execute(tx, commands, items)
    if (deferred) {
      await tx.query('set constraints all immediate')
      await tx.query('set constraints all deferred')
    }
  } catch (error) {
    if (!(error instanceof DataError)) throw error
    await tx.query('rollback to savepoint rows')
    await tx.query('release savepoint rows')
    if (items.length === 1) failed.set(items[0].index, error)
    else {
      const middle = items.length >> 1
      await executeApart(tx, commands, items.slice(0, middle), failed, deferred)
      await executeApart(tx, commands, items.slice(middle), failed, deferred)
    }
    return
  }
  await tx.query('release savepoint rows')
}
