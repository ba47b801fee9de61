import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { connect, connectionFor, scopeOf } from '../../kit/postgres/connect.ts'
import type { Driver, OpenTransaction } from '../../kit/postgres/driver.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { EnvironmentError, PipelineError } from '../../contract/plugin.ts'
import { silentLogger } from '../../runtime/telemetry/log.ts'
import { print, printJson } from '../command.ts'
import type { ApplyFlags } from '../sql.ts'

interface SqlFile {
  readonly path: string
  /** Its folder's name and its own: the same from wherever the command is called. */
  readonly name: string
  readonly text: string
  readonly checksum: string
}

type Outcome = 'applied' | 'changed' | 'unchanged'

const TABLE = `create table if not exists runner_sql (
  name text primary key,
  checksum text not null,
  applied_at timestamptz not null default now()
)`

/** @returns the exit code. */
export async function applySql(paths: readonly string[], flags: ApplyFlags): Promise<number> {
  const files = filesOf(paths)
  const config = connectionFor(flags.dsn)
  const { driver, release } = await connect(config, silentLogger)
  const done: { file: string; outcome: Outcome }[] = []
  try {
    for (const file of files) {
      const outcome = flags.dryRun ? await look(driver, file) : await apply(driver, file)
      done.push({ file: file.path, outcome })
      if (!flags.json) print(`${flags.dryRun ? said[outcome] : outcome.padEnd(9)}  ${file.path}\n`)
    }
  } finally {
    await release()
    if (flags.json) printJson({ database: scopeOf(config), dry_run: flags.dryRun === true, files: done })
  }
  return EXIT.ok
}

const said: Readonly<Record<Outcome, string>> = { applied: 'would run ', changed: 'would run again', unchanged: 'unchanged ' }

async function look(driver: Driver, file: SqlFile): Promise<Outcome> {
  const { there } = (await driver.query("select to_regclass('runner_sql') is not null as there")).rows[0]
  return there === true ? await compare(driver, file) : 'applied'
}

async function compare(db: Pick<Driver, 'query'>, file: SqlFile): Promise<Outcome> {
  const [known] = (await db.query('select checksum from runner_sql where name = $1', [file.name])).rows
  return known === undefined ? 'applied' : known.checksum === file.checksum ? 'unchanged' : 'changed'
}

async function apply(driver: Driver, file: SqlFile): Promise<Outcome> {
  const tx = await driver.begin()
  let outcome: Outcome
  try {
    // One at a time: `create table if not exists` of two at once fails in one of them.
    await tx.query("select pg_advisory_xact_lock(hashtext('runner_sql'))")
    await tx.query(TABLE)
    outcome = await compare(tx, file)
    if (outcome !== 'unchanged') {
      await run(tx, file, outcome)
      const record = `insert into runner_sql (name, checksum) values ($1, $2)
        on conflict (name) do update set checksum = excluded.checksum, applied_at = now()`
      await tx.query(record, [file.name, file.checksum])
    }
  } catch (error) {
    await tx.rollback()
    throw error
  }
  await tx.commit()
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
    const again = outcome === 'changed' ? '; the file has changed since it ran, so it ran again: write it so that it can' : ''
    throw new EnvironmentError(`${file.path}${line}: ${error.message}; nothing of the file was kept${again}`, error)
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
      throw new PipelineError('PIPE_SETTINGS', `${path} cannot be read: ${(error as Error).message}`)
    }
  })
  return files.map(path => {
    const text = readFileSync(path, 'utf8')
    const name = `${basename(dirname(resolve(path)))}/${basename(path)}`
    return { path, name, text, checksum: createHash('sha256').update(text).digest('hex') }
  })
}
