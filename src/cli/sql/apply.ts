import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type ConnectionConfig, connectionFor, type PostgresHandle, scopeOf } from '../../kit/postgres/connect.ts'
import { type OpenTransaction, quoteName } from '../../kit/postgres/driver.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { ConnectionError, EnvironmentError, PipelineError } from '../../contract/plugin.ts'
import { silentLogger } from '../../runtime/telemetry/log.ts'
import { outcomeLine, print, printJson, quiet } from '../output.ts'
import type { ApplyFlags } from '../sql.ts'
import { reasonOf } from '../../kit/system-error.ts'

interface SqlFile {
  readonly path: string
  /** Folder name and file name: independent of the working directory. */
  readonly name: string
  readonly text: string
  readonly checksum: string
}

type Outcome = 'applied' | 'changed' | 'unchanged'

/** @returns the exit code. */
export async function applySql(paths: readonly string[], flags: ApplyFlags): Promise<number> {
  const files = filesOf(paths)
  const config = connectionFor(flags.dsn)
  const { driver, release } = await connected(config, flags.wait ?? 0)
  const done: { file: string; outcome: Outcome }[] = []
  let schema = ''
  try {
    for (const file of files) {
      const tx = await driver.begin()
      let outcome: Outcome
      try {
        schema = await useSchema(tx, flags.schema)
        outcome = flags.dryRun ? await look(tx, file, schema) : await apply(tx, file, schema)
      } catch (error) {
        await tx.rollback()
        throw error
      }
      await (flags.dryRun ? tx.rollback() : tx.commit())
      done.push({ file: file.path, outcome })
      if (!flags.json && !(quiet() && outcome === 'unchanged'))
        print(flags.dryRun ? `${said[outcome]}  ${file.path}\n` : outcomeLine('ok', `${outcome.padEnd(9)}  ${file.path}`))
    }
  } finally {
    await release()
    if (flags.json) printJson({ database: scopeOf(config), schema, dry_run: flags.dryRun === true, files: done })
  }
  return EXIT.ok
}

const said: Readonly<Record<Outcome, string>> = { applied: 'would run      ', changed: 'would run again', unchanged: 'unchanged      ' }

/** ms between two attempts. */
const PAUSE = 500

async function connected(config: ConnectionConfig, wait: number): Promise<PostgresHandle> {
  const end = performance.now() + wait
  for (;;) {
    try {
      return await connect(config, silentLogger)
    } catch (error) {
      if (!(error instanceof ConnectionError) || performance.now() >= end) throw error
      await sleep(PAUSE)
    }
  }
}

interface Path {
  readonly path: string
  readonly own: string
  readonly own_has: boolean
  readonly personal: boolean
}

/** What unqualified names resolve to without "$user", the schema of the login, and whether files are recorded there. */
const PATH = `
  select personal, own, to_regclass(format('%I.runner_sql', own)) is not null as own_has,
    coalesce((select string_agg(trim(p), ', ' order by n) from unnest(parts) with ordinality as u (p, n) where trim(p, ' "') <> '$user'), '') as path
  from (
    select parts, current_user::text as own, exists (select from unnest(parts) p where trim(p, ' "') = '$user') as personal
    from (select string_to_array(current_setting('search_path'), ',') as parts) a
  ) b`

/**
 * Sets the schema of unqualified names for this transaction: the same for every login. "$user" is removed from PostgreSQL's default path:
 * after a file that creates a schema with the name of the login, the next file would write into that schema.
 * @returns the schema, quoted
 */
async function useSchema(tx: OpenTransaction, wanted: string | undefined): Promise<string> {
  const [{ path, own, own_has, personal }] = (await tx.query(PATH)).rows as unknown as Path[]
  if (wanted !== undefined) {
    const [{ there }] = (await tx.query('select to_regnamespace(quote_ident($1)) is not null as there', [wanted])).rows
    if (there !== true) throw new EnvironmentError(`schema ${wanted} does not exist: create it first (CREATE SCHEMA), or omit --schema`)
  } else if (personal && own_has && !path.split(', ').includes(own)) {
    throw new EnvironmentError(
      `an earlier version applied files to the schema ${own}, which has the name of the login; without --schema, they would now be applied again, to ${path || 'public'}. ` +
        `To keep ${own}: --schema ${own}. To start over: --schema ${path.split(', ')[0] || 'public'}`,
    )
  }
  const searched = [...(wanted === undefined ? [] : [quoteName(wanted)]), path || 'public'].join(', ')
  await tx.query(`set local search_path = ${searched}`)
  const [{ schema }] = (await tx.query('select quote_ident(current_schema()) as schema')).rows
  if (typeof schema !== 'string') throw new EnvironmentError(`no schema of the search_path (${searched}) exists: name one with --schema`)
  const [{ usable }] = (await tx.query('select $1::text is null or current_schema() = $1 as usable', [wanted ?? null])).rows
  if (usable !== true) throw new EnvironmentError(`the login ${own} may not use the schema ${wanted}: GRANT USAGE, CREATE ON SCHEMA`)
  return schema
}

async function look(tx: OpenTransaction, file: SqlFile, schema: string): Promise<Outcome> {
  const { there } = (await tx.query('select to_regclass($1) is not null as there', [`${schema}.runner_sql`])).rows[0]
  return there === true ? await compare(tx, file, schema) : 'applied'
}

async function compare(tx: OpenTransaction, file: SqlFile, schema: string): Promise<Outcome> {
  const [known] = (await tx.query(`select checksum from ${schema}.runner_sql where name = $1`, [file.name])).rows
  return known === undefined ? 'applied' : known.checksum === file.checksum ? 'unchanged' : 'changed'
}

async function apply(tx: OpenTransaction, file: SqlFile, schema: string): Promise<Outcome> {
  // One process at a time: of two concurrent `create table if not exists`, one fails.
  await tx.query("select pg_advisory_xact_lock(hashtext('runner_sql'))")
  await tx.query(
    `create table if not exists ${schema}.runner_sql (name text primary key, checksum text not null, applied_at timestamptz not null default now())`,
  )
  const outcome = await compare(tx, file, schema)
  if (outcome !== 'unchanged') {
    await run(tx, file, outcome)
    const record = `insert into ${schema}.runner_sql (name, checksum) values ($1, $2)
      on conflict (name) do update set checksum = excluded.checksum, applied_at = now()`
    await tx.query(record, [file.name, file.checksum])
  }
  return outcome
}

/** @throws {EnvironmentError} with the line of the file. */
async function run(tx: OpenTransaction, file: SqlFile, outcome: Outcome): Promise<void> {
  try {
    await tx.script(file.text)
  } catch (error) {
    if (!(error instanceof PipelineError) || error.retryable) throw error
    const position = Number((error.cause as { position?: string } | undefined)?.position)
    // PostgreSQL counts characters, and the first is 1.
    const line = Number.isInteger(position)
      ? `:${
          Array.from(file.text)
            .slice(0, position - 1)
            .filter(c => c === '\n').length + 1
        }`
      : ''
    const again = outcome === 'changed' ? '; the file changed since it ran, so it ran again: write it so that it can run repeatedly' : ''
    throw new EnvironmentError(`${file.path}${line}: ${error.message}; the file was rolled back${again}`, error)
  }
}

/** @throws {PipelineError} when there is none. */
function filesOf(paths: readonly string[]): SqlFile[] {
  const files = paths.flatMap(path => {
    try {
      if (!statSync(path).isDirectory()) return [path]
      const inside = readdirSync(path).filter(name => name.endsWith('.sql'))
      if (inside.length === 0) throw new PipelineError('PIPE_SETTINGS', `${path} has no .sql files`)
      return inside.sort().map(name => join(path, name))
    } catch (error) {
      if (error instanceof PipelineError) throw error
      throw new PipelineError('PIPE_SETTINGS', `${path} cannot be read: ${reasonOf(error)}`)
    }
  })
  return files.map(path => {
    const text = readFileSync(path, 'utf8')
    const name = `${basename(dirname(resolve(path)))}/${basename(path)}`
    return { path, name, text, checksum: createHash('sha256').update(text).digest('hex') }
  })
}
