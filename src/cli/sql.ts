/** `runner sql apply`: applies `.sql` files to a database. */
import type { Command } from 'commander'
import { EXIT } from '../kit/exit-codes.ts'
import { runCommand } from './command.ts'
import { parseDurationOption } from './options.ts'

export interface ApplyFlags {
  readonly dsn?: string
  readonly schema?: string
  /** ms */
  readonly wait?: number
  readonly dryRun?: boolean
  readonly json?: boolean
}

export function register(program: Command): void {
  const sql = program.command('sql').description('apply .sql files to a PostgreSQL database')
  sql
    .command('apply')
    .description('run new and changed .sql files in the order of their names')
    .argument('<path...>', 'files, or folders with .sql files')
    .option('--dsn <dsn>', 'postgres://user:password@host:5432/database or pglite:; default: PG_DSN_RW, else pglite:')
    .option('--schema <name>', 'schema of unqualified names; default: the search_path without the schema of the user, so public')
    .option('--wait <duration>', 'how long to wait for the database to respond', parseDurationOption)
    .option('--dry-run', 'print the files that would run; change nothing')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Each file is one transaction: it runs as a whole or not at all. The files that have run and their checksums are recorded in the table
runner_sql of that schema. A changed file runs again, so write files that can run repeatedly: create table if not exists,
create or replace, alter table … add column if not exists.

Exit codes: 0 done, 2 no files found, 3 the database cannot be used or rejects a file.

Example:
  $ PG_DSN_RW=postgres://app@localhost/app runner sql apply pipelines/sql`,
    )
    .action((paths: string[], flags: ApplyFlags) => runCommand(async () => (await import('./sql/apply.ts')).applySql(paths, flags)))
  for (const command of sql.commands) command.exitOverride().showSuggestionAfterError()
  sql.action(() => {
    sql.outputHelp()
    process.exitCode = EXIT.config
  })
}
