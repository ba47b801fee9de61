/** `runner sql apply`: brings a database to what `.sql` files say. */
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
  const sql = program.command('sql').description('apply .sql files to a database')
  sql
    .command('apply')
    .description('run .sql files in the order of their names; those that ran as they are stay out')
    .argument('<path...>', 'files, or folders with .sql files')
    .option('--dsn <dsn>', 'postgres://user:password@host:5432/database or pglite:; default: PG_DSN_RW, else pglite:')
    .option('--schema <name>', 'where names without a schema go; default: the search_path without the schema of the login, so public')
    .option('--wait <duration>', 'for a database that does not answer yet', parseDurationOption)
    .option('--dry-run', 'say what would run; change nothing')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Each file is one transaction: it runs as a whole or not at all. Which files have run, with their checksums, is kept in the table
runner_sql of that schema. A file that has changed since runs again, so write files that can: create table if not exists,
create or replace, alter table … add column if not exists.

Exit codes: 0 done, 2 there are no such files, 3 the database cannot be used or refuses a file.

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
