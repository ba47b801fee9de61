/** Reads an HTTP API page by page. The position is the id of the last object, so reading goes on there after a restart. */
import {
  ConnectionError,
  defineSource,
  encodeJson,
  EnvironmentError,
  Message,
  parseJson,
  type Source,
  type SourceContext,
} from 'pipeline-runner'
import { pause, systemClock } from 'pipeline-runner/kit'
import type { HttpPollSourceConfig } from './http_poll.config.ts'
import schema from './http_poll.schema.json' with { type: 'json' }

type Row = { id: number }

export default defineSource<HttpPollSourceConfig>({
  type: 'http_poll',
  schema,
  replayable: true,
  reason: 'objects are read again by their id',
  create,

  async check(config, { signal }) {
    const what = `GET ${new URL(config.url).origin}`
    try {
      await getPage(config, 0, signal)
      return [{ what, ok: true }]
    } catch (error) {
      return [{ what, ok: false, detail: (error as Error).message, fix: 'correct url and token, or start the service' }]
    }
  },
})

function create(config: HttpPollSourceConfig, ctx: SourceContext): Source {
  const lane = ctx.step
  const origin = { lane, source: ctx.step, format: 'json' } as const
  let after = 0
  /** `clock.monotonic()` before the last request, when that found nothing more. */
  let emptyAt: number | undefined
  let healthy = false

  return {
    async open() {
      const positions = await ctx.assign([{ id: lane, source: ctx.step }])
      after = (positions.get(lane) as number | undefined) ?? 0
    },

    async read(signal) {
      for (;;) {
        signal.throwIfAborted()
        const [from, asked] = [after, ctx.clock.monotonic()]
        healthy = false
        const rows = await getPage(config, from, signal)
        healthy = true
        // A seek came while the request was under way.
        if (from !== after) continue
        if (rows.length > 0) {
          after = rows.at(-1)!.id
          emptyAt = undefined
          const now = ctx.clock.now()
          const messages = rows.map(row => Message.fromRecord(Buffer.from(encodeJson(row)), null, now, undefined, row.id, origin))
          return { lane, messages, position: after }
        }
        emptyAt = asked
        if (config.mode === 'once') return null
        await pause(systemClock, config.interval, signal)
      }
    },

    async seek(_, position) {
      after = (position as number | undefined) ?? 0
      emptyAt = undefined
    },

    caughtUp: () => emptyAt ?? false,
    healthy: () => healthy,
  }
}

/**
 * @throws {ConnectionError} the runner calls `read` again, with back-off.
 * @throws {EnvironmentError} the pipeline stops with exit code 3: asking again would not help.
 */
async function getPage({ url, token, page_size, timeout }: HttpPollSourceConfig, after: number, signal: AbortSignal): Promise<Row[]> {
  const address = new URL(url)
  address.searchParams.set('after', String(after))
  address.searchParams.set('limit', String(page_size))
  let status: number
  let text: string
  try {
    const response = await fetch(address, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
    })
    status = response.status
    text = await response.text()
  } catch (error) {
    signal.throwIfAborted()
    throw new ConnectionError(`no answer from ${address.host}: ${((error as Error).cause as Error | undefined)?.message ?? error}`, error)
  }
  if (status === 429 || status >= 500) throw new ConnectionError(`${address.host} answers with status ${status}`)
  if (status !== 200) throw new EnvironmentError(`${address.host} answers with status ${status}: correct url or token`)
  const rows = parsed(text)
  if (!isPage(rows, after))
    throw new EnvironmentError(`${address.host} does not answer with an array of objects with rising ids after ${after}`)
  return rows
}

function parsed(text: string): unknown {
  try {
    // Not JSON.parse: it would round long numbers.
    return parseJson(text)
  } catch {
    return undefined
  }
}

/** An id that does not increase would be read again forever, or skip the records in between. */
function isPage(rows: unknown, after: number): rows is Row[] {
  if (!Array.isArray(rows)) return false
  let last = after
  return rows.every(row => {
    const id: unknown = row?.id
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id <= last) return false
    last = id
    return true
  })
}
