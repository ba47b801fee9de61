/**
 * A local server that speaks the shapes of Google's Sheets REST API (v4): `spreadsheets.get`, `values.get` and `batchUpdate` with
 * `addSheet` and `appendCells`, all or nothing. It fails on demand, before or after it has executed the request.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

type CellValue = string | number | boolean | null
/** `applied`: the write is done, the response is not sent (a 500, a cut connection, or nothing for so many ms). */
export type Fault =
  | { status: number; applied?: boolean; reason?: string }
  | { cut: true; applied: boolean }
  | { hang: number; applied: boolean }

export interface SheetsServer {
  readonly endpoint: string
  /** Rows of a tab, header included; undefined: there is no such tab. */
  rows(spreadsheet: string, tab: string): CellValue[][] | undefined
  /** Each batchUpdate consumes the next fault; without faults it succeeds. */
  readonly faults: Fault[]
  /** Calls so far, as `batchUpdate ID`, `get ID`, `values ID`. */
  readonly calls: string[]
  /** Called when a batchUpdate has been applied, before it is answered. */
  onApplied: (() => Promise<void> | void) | undefined
  add(spreadsheet: string): void
  /** Shared with the service account: undone, or done again. */
  share(spreadsheet: string, shared: boolean): void
  close(): Promise<void>
}

interface Tab {
  readonly sheetId: number
  readonly title: string
  readonly rows: CellValue[][]
}

interface Request {
  addSheet?: { properties: { sheetId: number; title: string } }
  appendCells?: { sheetId: number; rows: { values: { userEnteredValue?: Record<string, CellValue> }[] }[] }
}

class ApiError extends Error {
  readonly status: number
  readonly body: object
  constructor(status: number, message: string, body: object = {}) {
    super(message)
    this.status = status
    this.body = { code: status, message, ...body }
  }
}

export async function startSheets(...spreadsheets: string[]): Promise<SheetsServer> {
  const files = new Map<string, Tab[]>()
  const add = (id: string): void => void files.set(id, [{ sheetId: 0, title: 'Sheet1', rows: [] }])
  for (const id of spreadsheets) add(id)
  const unshared = new Set<string>()
  const faults: Fault[] = []
  const calls: string[] = []

  const find = (id: string): Tab[] => {
    const tabs = files.get(id)
    if (unshared.has(id)) throw new ApiError(403, 'The caller does not have permission', { status: 'PERMISSION_DENIED' })
    if (!tabs) throw new ApiError(404, 'Requested entity was not found.')
    return tabs
  }

  function update(id: string, requests: readonly Request[]): object {
    // On a copy first: a batchUpdate is atomic.
    const tabs = find(id).map(t => ({ ...t, rows: [...t.rows] }))
    for (const { addSheet, appendCells } of requests) {
      if (addSheet) {
        const { sheetId, title } = addSheet.properties
        if (tabs.some(t => t.title === title)) throw new ApiError(400, `A sheet with the name "${title}" already exists.`)
        tabs.push({ sheetId, title, rows: [] })
      } else if (appendCells) {
        const tab = tabs.find(t => t.sheetId === appendCells.sheetId)
        if (!tab) throw new ApiError(400, `No sheet with id: ${appendCells.sheetId}`)
        for (const { values } of appendCells.rows) tab.rows.push(values.map(v => Object.values(v.userEnteredValue ?? {})[0] ?? null))
      } else throw new ApiError(400, 'Invalid request')
    }
    files.set(id, tabs)
    return { spreadsheetId: id, replies: requests.map(() => ({})) }
  }

  function values(id: string, range: string): object {
    const [, quoted, column] = /^'((?:[^']|'')+)'!([A-Z]+):\2$/.exec(range) ?? []
    const tab = find(id).find(t => t.title === quoted?.replaceAll("''", "'"))
    if (!tab) throw new ApiError(400, `Unable to parse range: ${range}`)
    const index = Array.from(column).reduce((n, c) => n * 26 + c.charCodeAt(0) - 64, 0) - 1
    const cells = tab.rows.map(r => r[index] ?? '')
    return { range, majorDimension: 'COLUMNS', ...(cells.length > 0 && { values: [cells] }) }
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, 'http://sheets')
    if (request.headers.authorization !== 'Bearer token') throw new ApiError(401, 'Request had invalid authentication credentials.')
    const [, id, rest] = /^\/v4\/spreadsheets\/([^/:]+)(.*)$/.exec(decodeURIComponent(url.pathname)) ?? []
    if (id === undefined) throw new ApiError(404, 'Not found')
    const reply = (body: object): void => void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    if (request.method === 'GET') {
      calls.push(`${rest === '' ? 'get' : 'values'} ${id}`)
      if (rest.startsWith('/values/')) return reply(values(id, rest.slice('/values/'.length)))
      return reply({ sheets: find(id).map(({ sheetId, title }) => ({ properties: { sheetId, title } })) })
    }
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    calls.push(`batchUpdate ${id}`)
    const fault = faults.shift()
    const { requests } = JSON.parse(Buffer.concat(chunks).toString()) as { requests: Request[] }
    if (fault === undefined || fault.applied === true) {
      const body = update(id, requests)
      await server.onApplied?.()
      if (fault === undefined) return reply(body)
    }
    if ('cut' in fault!) return void request.socket.destroy()
    if ('hang' in fault!) {
      await sleep(fault.hang)
      return
    }
    const { status, reason } = fault as { status: number; reason?: string }
    throw new ApiError(status, 'fault', reason === undefined ? {} : { details: [{ reason }] })
  }

  const http = createServer((request, response) => {
    answer(request, response).catch((error: ApiError) => {
      const code = error.status ?? 500
      response
        .writeHead(code, { 'content-type': 'application/json' })
        .end(JSON.stringify({ error: error.body ?? { code, message: error.message } }))
    })
  })
  await new Promise<void>(resolve => http.listen(0, '127.0.0.1', resolve))
  const server: SheetsServer = {
    endpoint: `http://127.0.0.1:${(http.address() as AddressInfo).port}/`,
    rows: (id, tab) => files.get(id)?.find(t => t.title === tab)?.rows,
    faults,
    calls,
    onApplied: undefined,
    add,
    share: (id, shared) => void (shared ? unshared.delete(id) : unshared.add(id)),
    async close() {
      http.closeAllConnections()
      await new Promise(resolve => http.close(resolve))
    },
  }
  return server
}
