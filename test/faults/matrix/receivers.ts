/** Sinks with a peer of the test: clients of the WebSocket server, and spreadsheets. */
import { readFileSync } from 'node:fs'
import type { Sink } from './ends.ts'
import { databaseOf, psql } from './look.ts'
import type { Numbered, Seen } from './records.ts'

const COLUMNS = ['id', 'key', 'n', 'sum']
const SHEET_POSTS = /CREATE TABLE IF NOT EXISTS control\.sheet_posts \([^]*?\n\);/.exec(
  readFileSync(new URL('../../../pipelines/sql/10-company.sql', import.meta.url), 'utf8'),
)![0]

/** What the client of the WebSocket server has received, in order: a message, or the notice of a gap. */
export type Received = { readonly text: string; readonly key: string } | 'gap'

/** Missing records that a notice of a gap stands for: between the newest one of its key that came before it and the next one after it. */
export function announced(made: readonly Numbered[], log: readonly Received[]): Set<number> {
  /** Place of the first sight of each record, and the notices before it. */
  const place = new Map<number, number>()
  let notices = 0
  for (const one of log) {
    if (one === 'gap') notices++
    else {
      const { id } = JSON.parse(one.text) as Numbered
      if (!place.has(id)) place.set(id, notices)
    }
  }
  const missed = new Set<number>()
  for (const records of Map.groupBy(made, r => r.key).values()) {
    for (const [i, { id }] of records.entries()) {
      if (place.has(id)) continue
      const before = place.get(records.slice(0, i).findLast(r => place.has(r.id))?.id ?? -1) ?? 0
      const after = place.get(records.slice(i).find(r => place.has(r.id))?.id ?? -1)
      if (after !== undefined && after > before) missed.add(id)
    }
  }
  return missed
}

export const RECEIVERS = {
  websocket_server: {
    peer: 'client',
    single: true,
    async open({ peers, name }) {
      const client = await peers.client()
      client.follow(name)
      return {
        yaml: `websocket_server: { port: ${client.serverPort}, path: /${name}, heartbeat: 1s, ring: 200000, ring_size: 64MiB }`,
        read: async () => client.log.filter((one): one is Seen => one !== 'gap'),
        missed: made => announced(made, client.log),
      }
    },
  },
  google_sheets: {
    peer: 'sheets',
    also: 'postgres',
    rate: 5,
    async open(place) {
      const { peers, name } = place
      const sheets = await peers.sheets()
      const { dsn, through } = await databaseOf(place)
      await psql(dsn, `CREATE SCHEMA control; ${SHEET_POSTS}`)
      sheets.server.add(name)
      return {
        yaml: `google_sheets: { spreadsheet: '"${name}"', tab: Rows, columns: [${COLUMNS.join()}], key: id, dsn: "${through}", endpoint: "http://${sheets.address}/", access_token: token, requests_per_minute: 10000, timeout: 5s }`,
        read: async () =>
          (sheets.server.rows(name, 'Rows') ?? []).slice(1).map(cells => ({
            text: JSON.stringify(Object.fromEntries(cells.map((cell, i) => [COLUMNS[i], cell]))),
            key: '',
          })),
      }
    },
  },
} satisfies Record<string, Sink>
