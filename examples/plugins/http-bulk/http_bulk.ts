/** Posts records to an HTTP API in batches. */
import { BatchError, ConnectionError, DataError, defineSink, encodeJson, EnvironmentError, type Message, type Sink } from 'pipeline-runner'
import type { HttpBulkSinkConfig } from './http_bulk.config.ts'
import schema from './http_bulk.schema.json' with { type: 'json' }

export default defineSink<HttpBulkSinkConfig>({
  type: 'http_bulk',
  schema,
  onRedelivery: 'appends',
  reason: 'the API stores each row it gets, also one it has had before',
  create,
})

/** A message of the batch, and what is posted for it. */
interface Row {
  readonly index: number
  readonly json: string
}

function create(config: HttpBulkSinkConfig): Sink {
  let healthy = true
  return {
    async write(messages, { signal }) {
      const failed = new Map<number, Error>()
      const rows = messages.flatMap((message, index): Row[] => {
        const json = toRow(message)
        if (typeof json === 'string') return [{ index, json }]
        failed.set(index, json)
        return []
      })
      healthy = false
      for (let i = 0; i < rows.length; i += config.max_rows) {
        const part = rows.slice(i, i + config.max_rows)
        for (const [row, error] of await post(config, part, signal)) failed.set(part[row].index, error)
      }
      healthy = true
      // Everything else is stored; the runner dead-letters these.
      if (failed.size > 0) throw new BatchError(failed)
    },
    healthy: () => healthy,
  }
}

function toRow({ value }: Message): string | DataError {
  if (value === null || Buffer.isBuffer(value)) return new DataError('a record without a JSON value is not a row')
  return encodeJson(value)
}

/** @returns what the API says of rows that it does not take. */
async function post({ url, token, timeout }: HttpBulkSinkConfig, rows: readonly Row[], signal: AbortSignal): Promise<Map<number, Error>> {
  const { host } = new URL(url)
  let status: number
  let text: string
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
      body: `[${rows.map(row => row.json).join(',')}]`,
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
    })
    status = response.status
    text = await response.text()
  } catch (error) {
    signal.throwIfAborted()
    // Tried again with back-off, as `retry` of the pipeline says.
    throw new ConnectionError(`no answer from ${host}: ${((error as Error).cause as Error | undefined)?.message ?? error}`, error)
  }
  if (status >= 200 && status < 300) return new Map()
  if (status === 422) return rejected(text, rows.length, host)
  if (status === 429 || status >= 500) throw new ConnectionError(`${host} answers with status ${status}`)
  // Says nothing about the rows: they stay where they are, and the pipeline stops with exit code 3.
  throw new EnvironmentError(`${host} answers with status ${status}: correct url or token`)
}

/** An answer that does not say which rows are stored must not pass as one that does. */
function rejected(text: string, rows: number, host: string): Map<number, Error> {
  try {
    const { errors } = JSON.parse(text) as { errors: { row: number; message: string }[] }
    const failed = new Map(errors.map(({ row, message }) => [row, new DataError(String(message))]))
    if (failed.size > 0 && [...failed.keys()].every(row => Number.isInteger(row) && row >= 0 && row < rows)) return failed
  } catch {
    // Not the answer that was agreed on.
  }
  throw new EnvironmentError(`${host} answers with status 422 and does not name the rows: ${text.slice(0, 200)}`)
}
