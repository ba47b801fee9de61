import type { GoogleSheetsSinkConfig } from '../../generated/config-types.ts'
import { compile } from '../../expressions/index.ts'
import {
  BatchError,
  type ConfigProblem,
  type Context,
  DataError,
  defineSink,
  EnvironmentError,
  type Message,
  PipelineError,
  type Sink,
} from '../../contract/plugin.ts'
import { validateConnection } from '../../kit/postgres/connect.ts'
import { RejectedPost, type SheetsClient, sheetsClient } from './client.ts'
import { connectionOf, Posts, type RowKey, type SheetClaims } from './posts.ts'
import { checkSheets } from './check.ts'
import { type Row, rowsReader } from './rows.ts'
import schema from './sink.schema.json' with { type: 'json' }

export default defineSink<GoogleSheetsSinkConfig>({
  type: 'google_sheets',
  schema,
  onRedelivery: 'idempotent',
  reason: 'a row is claimed before and confirmed after the call, so a retry finds it done or reads the sheet first',
  validateConfig(config): ConfigProblem[] {
    const problems: ConfigProblem[] = validateConnection(connectionOf(config)).map(p => ({ ...p, path: ['dsn'] }))
    const known = (name: string): boolean => config.columns.includes(name)
    if (!known(config.key)) problems.push({ path: ['key'], message: `must be one of the columns: ${config.columns.join(', ')}` })
    config.numbers.forEach((name, i) => {
      if (name === config.key)
        problems.push({ path: ['numbers', i], message: 'must not list the key column, whose values are compared as text: 007 is not 7' })
      else if (!known(name)) problems.push({ path: ['numbers', i], message: `must be one of the columns: ${config.columns.join(', ')}` })
    })
    if (!URL.canParse(config.endpoint))
      problems.push({ path: ['endpoint'], message: 'must be a URL, for example https://sheets.googleapis.com/' })
    return problems
  },
  check: checkSheets,
  preview: config => {
    const read = rowsReader(config)
    const spreadsheet = compile(config.spreadsheet)
    return m => ({ topic: config.tab, key: String(spreadsheet.evaluate(m)), value: JSON.stringify(read(m.value).map(r => r.cells)) })
  },
  create: (config, ctx) => (config.post ? postingSink(config, ctx) : shadowSink(config, ctx)),
})

/** Rows of one commit batch for one spreadsheet, and the messages they come from. */
interface Post {
  readonly rows: Map<string, Row>
  readonly messages: Set<number>
}

function reader(
  config: GoogleSheetsSinkConfig,
): (messages: readonly Message[]) => { posts: Map<string, Post>; failed: Map<number, Error> } {
  const spreadsheetOf = compile(config.spreadsheet)
  const read = rowsReader(config)
  return messages => {
    const posts = new Map<string, Post>()
    const failed = new Map<number, Error>()
    messages.forEach((m, i) => {
      try {
        const spreadsheet = spreadsheetOf.evaluate(m)
        if (typeof spreadsheet !== 'string' || !/^[\w-]+$/.test(spreadsheet))
          throw new DataError(`spreadsheet: '${config.spreadsheet}' gave ${JSON.stringify(spreadsheet)}, which is not a spreadsheet id`)
        const rows = read(m.value)
        let post = posts.get(spreadsheet)
        if (!post) posts.set(spreadsheet, (post = { rows: new Map(), messages: new Set() }))
        for (const row of rows) post.rows.set(row.key, row)
        post.messages.add(i)
      } catch (error) {
        failed.set(i, error instanceof PipelineError ? error : new DataError((error as Error).message, error))
      }
    })
    return { posts, failed }
  }
}

function postingSink(config: GoogleSheetsSinkConfig, ctx: Context): Sink {
  const read = reader(config)
  const labels = { pipeline: ctx.pipeline, step: ctx.step }
  const posted = ctx.metrics.counter('google_sheets_rows_posted_total', 'Rows written to a sheet', labels)
  const repeated = ctx.metrics.counter('google_sheets_rows_repeated_total', 'Rows not written because the sheet already has them', labels)
  const reread = ctx.metrics.counter(
    'google_sheets_sheets_reread_total',
    'Times a sheet was read because the outcome of a post was unknown',
    labels,
  )
  const posts = new Posts(connectionOf(config), config.posts_table, ctx.log)
  let client: SheetsClient | undefined
  let healthy = false

  /** The rows that the sheet already has. */
  const found = async (spreadsheet: string, rows: readonly RowKey[]): Promise<RowKey[]> => {
    reread.inc()
    const column = new Set(await client!.column(spreadsheet, config.tab, config.columns.indexOf(config.key)))
    return rows.filter(r => column.has(r.key))
  }

  async function post(claims: SheetClaims, spreadsheet: string, rows: ReadonlyMap<string, Row>): Promise<void> {
    const keys = [...rows.keys()].map(key => ({ tab: config.tab, key }))
    const { fresh, uncertain } = await claims.claim(keys)
    const there = uncertain.length === 0 ? [] : await found(spreadsheet, uncertain)
    await claims.confirm(there)
    const on = new Set(there.map(r => r.key))
    // In the order of the messages, independent of the order of the table.
    const missing = new Set([...fresh, ...uncertain].filter(r => !on.has(r.key)).map(r => r.key))
    const wanted = keys.filter(k => missing.has(k.key))
    repeated.inc(keys.length - wanted.length)
    if (wanted.length === 0) return
    try {
      await client!.append(
        spreadsheet,
        [{ tab: config.tab, header: config.columns, rows: wanted.map(k => rows.get(k.key)!.cells) }],
        claims.check,
      )
    } catch (error) {
      if (error instanceof RejectedPost || error instanceof DataError || error instanceof EnvironmentError) await claims.forget(wanted)
      throw error
    }
    await claims.confirm(wanted)
    posted.inc(wanted.length)
  }

  return {
    async open() {
      client ??= await sheetsClient({
        endpoint: config.endpoint,
        credentials: config.credentials,
        accessToken: config.access_token,
        requestsPerMinute: config.requests_per_minute,
        timeout: config.timeout,
      })
      await posts.open()
      healthy = true
    },

    async write(messages) {
      const { posts: all, failed } = read(messages)
      for (const [spreadsheet, { rows, messages: from }] of all) {
        try {
          await posts.exclusively(spreadsheet, claims => post(claims, spreadsheet, rows))
          healthy = true
        } catch (error) {
          if (!(error instanceof DataError)) {
            healthy = false
            throw error
          }
          for (const i of from) failed.set(i, error)
        }
      }
      if (failed.size > 0) throw new BatchError(failed)
    },

    healthy: () => healthy,
    close: () => posts.close(),
  }
}

/** Reads and checks everything as the posting sink does, and logs the rows that it would send. */
function shadowSink(config: GoogleSheetsSinkConfig, ctx: Context): Sink {
  const read = reader(config)
  const shadowed = ctx.metrics.counter('google_sheets_rows_shadowed_total', 'Rows that shadow mode did not write', {
    pipeline: ctx.pipeline,
    step: ctx.step,
  })
  return {
    async write(messages) {
      const { posts, failed } = read(messages)
      for (const [spreadsheet, { rows }] of posts) {
        shadowed.inc(rows.size)
        ctx.log.info(
          { step: ctx.step, spreadsheet, tab: config.tab, rows: [...rows.values()].map(r => r.cells) },
          'shadow mode: would post',
        )
      }
      if (failed.size > 0) throw new BatchError(failed)
    },
  }
}
