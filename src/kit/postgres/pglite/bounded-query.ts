/**
 * A query whose rows are read in parts, as from a server: each Execute message of the protocol names a number of rows, and the portal stays
 * open between them. Reading stops at the limit, so the rest of a long result is never built.
 */
import type { PGlite, protocol } from '@electric-sql/pglite'
import { limits } from '../../limits.ts'
import type { Param, Result, Row } from '../driver.ts'
import { decode, encode } from '../types.ts'

/** Size of a part, bytes, as far as the rows before allow an estimate. */
const PART_BYTES = 1024 * 1024
const MAX_PART = 1000

type Message = Awaited<ReturnType<PGlite['execProtocolStream']>>[number]
interface DataRow extends Message {
  readonly fields: readonly (string | null)[]
}
interface CommandComplete extends Message {
  /** `INSERT 0 5`. */
  readonly text: string
}
interface RowDescription extends Message {
  readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[]
}

export type Protocol = typeof protocol

/** @throws {Error} the server's error, with its SQLSTATE as `code` */
export async function boundedQuery(
  db: PGlite,
  { serialize }: Protocol,
  sql: string,
  params: readonly Param[],
  maxRows: number,
): Promise<Result> {
  const send = (message: Uint8Array): Promise<Message[]> => db.execProtocolStream(message, { syncToFs: false })
  const rows: Row[] = []
  let more: Result['more'] = false
  /** Rows changed by a statement that returns none. */
  let changed = 0
  let fields: RowDescription['fields'] = []
  try {
    await send(serialize.parse({ text: sql }))
    await send(serialize.bind({ values: params.map(encode) }))
    const described = await send(serialize.describe({ type: 'P' }))
    fields = described.find((m): m is RowDescription => m.name === 'rowDescription')?.fields ?? []
    let bytes = 0
    // The first row shows how large rows are.
    let part = 1
    for (let suspended = true; suspended && more === false; ) {
      // One row more than the limit distinguishes a longer result from one with exactly that many rows.
      const messages = await send(serialize.execute({ rows: Math.min(part, maxRows + 1 - rows.length) }))
      suspended = messages.at(-1)?.name === 'portalSuspended'
      for (const message of messages) {
        if (message.name === 'commandComplete') changed = Number(/\d+$/.exec((message as CommandComplete).text)?.[0] ?? 0)
        if (message.name !== 'dataRow') continue
        bytes += message.length
        if (bytes > limits().input) {
          more = 'bytes'
          break
        }
        rows.push(toRow(message as DataRow, fields))
        if (rows.length > maxRows) more = true
      }
      part = Math.max(1, Math.min(MAX_PART, part * 10, Math.floor((PART_BYTES * rows.length) / Math.max(1, bytes))))
    }
  } finally {
    // Also after an error, which makes the server skip everything before it. It closes the portal.
    await send(serialize.sync())
  }
  if (!db.isInTransaction()) await db.syncToFs()
  if (more === 'bytes') rows.length = 0
  return {
    rows,
    rowCount: fields.length > 0 ? rows.length : changed,
    fields: fields.map(f => ({ name: f.name, type: f.dataTypeID })),
    more,
  }
}

function toRow({ fields: values }: DataRow, fields: RowDescription['fields']): Row {
  const row: Row = {}
  fields.forEach(({ name, dataTypeID }, i) => {
    const text = values[i]
    row[name] = text === null ? null : decode(dataTypeID, text)
  })
  return row
}
