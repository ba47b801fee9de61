/** `runner sql apply`, on a real server and on the database in the process. */
import { expect, test } from 'vitest'
import { database, sql } from '../../support/postgres.ts'
import { runRunner, tempDir } from '../../support/runner.ts'

test.each(['server', 'pglite'])('each file is applied once, in order, in one transaction (%s)', async kind => {
  const dsn = kind === 'server' ? await database() : undefined
  const cwd = tempDir({
    '02_rows.sql': "insert into t values (1, 'a;b'); -- ;\ninsert into t values (2, $$x;y$$);",
    '01_table.sql': 'create table if not exists t (id int primary key, note text);\ncreate index if not exists i on t (note);',
    'notes.txt': 'no sql',
  })
  const apply = (args: string[]) => runRunner(['sql', 'apply', ...args], { cwd, env: { PG_DSN_RW: dsn } })
  const dry = await apply(['.', '--dry-run', '--json'])
  expect(JSON.parse(dry.stdout).files.map((f: { outcome: string }) => f.outcome)).toEqual(['applied', 'applied'])
  const first = await apply(['.'])
  expect([first.code, first.stdout.replaceAll(/ +/g, ' ')]).toEqual([0, '✓ ok applied 01_table.sql\n✓ ok applied 02_rows.sql\n'])
  expect(JSON.parse((await apply(['.', '--json'])).stdout).files.map((f: { outcome: string }) => f.outcome)).toEqual([
    'unchanged',
    'unchanged',
  ])
  if (dsn !== undefined) expect(await sql(dsn, 'select note from t order by id')).toEqual([{ note: 'a;b' }, { note: 'x;y' }])
})

test('a file that fails is rolled back and named', async () => {
  const dsn = await database()
  const cwd = tempDir({ 'a.sql': 'create table x (id int);\n\ninsert into nowhere values (1);' })
  const failed = await runRunner(['sql', 'apply', 'a.sql', '--dsn', dsn], { cwd })
  expect([failed.code, failed.stderr]).toEqual([
    3,
    expect.stringMatching(/^error: a\.sql:3: .*relation "nowhere" does not exist.*the file was rolled back/),
  ])
  expect(await sql(dsn, "select to_regclass('x') as x")).toEqual([{ x: null }])
  expect((await runRunner(['sql', 'apply', 'missing.sql', '--dsn', dsn], { cwd })).code).toBe(2)
  expect((await runRunner(['sql', 'apply', 'a.sql', '--dsn', 'postgres://u@127.0.0.1:1/x'], { cwd })).code).toBe(3)
  expect((await runRunner(['sql', 'apply', '--help'])).stdout).toMatch(/Example:/)
})

test('the target schema is independent of the login: any login, also one named like a schema of the files, applies each file once', async () => {
  const dsn = await database()
  const name = new URL(dsn).pathname.slice(1)
  await sql(
    dsn,
    `do $$ begin create role app login password 'app'; exception when duplicate_object or unique_violation then null; end $$; alter database "${name}" owner to app`,
  )
  const app = Object.assign(new URL(dsn), { username: 'app', password: 'app' }).href
  const cwd = tempDir({
    '1.sql': 'create schema if not exists app; create table if not exists app.inside (id int);',
    '2.sql': 'create table if not exists outbox (id int); insert into outbox values (1);',
  })
  const apply = (as: string, ...args: string[]) => runRunner(['sql', 'apply', '.', '--dsn', as, '--json', ...args], { cwd })
  const outcomes = async (as: string, ...args: string[]): Promise<[number | null, string, string[]]> => {
    const { code, stdout, stderr } = await apply(as, ...args)
    expect(stderr).toBe('')
    const { schema, files } = JSON.parse(stdout) as { schema: string; files: { outcome: string }[] }
    return [code, schema, files.map(f => f.outcome)]
  }
  expect(await outcomes(app)).toEqual([0, 'public', ['applied', 'applied']])
  for (const as of [app, dsn]) expect(await outcomes(as)).toEqual([0, 'public', ['unchanged', 'unchanged']])
  const places = () =>
    sql(
      dsn,
      "select table_schema as s, table_name as t from information_schema.tables where table_schema in ('app', 'public') order by 1, 2",
    )
  expect(await places()).toEqual([
    { s: 'app', t: 'inside' },
    { s: 'public', t: 'outbox' },
    { s: 'public', t: 'runner_sql' },
  ])
  expect(await sql(dsn, 'select count(*)::text as n from outbox')).toEqual([{ n: '1' }])

  // A schema of one's own choice; one that is not there.
  await sql(dsn, 'create schema elsewhere')
  expect((await apply(app, '--schema', 'elsewhere')).stderr).toContain('may not use the schema elsewhere')
  await sql(dsn, 'grant usage, create on schema elsewhere to app')
  expect(await outcomes(app, '--schema', 'elsewhere')).toEqual([0, 'elsewhere', ['applied', 'applied']])
  expect(await sql(dsn, 'select count(*)::text as n from elsewhere.outbox')).toEqual([{ n: '1' }])
  expect((await apply(app, '--schema', 'nowhere')).stderr).toContain('schema nowhere does not exist')

  // What 0.1.0 did with this login: everything in its schema. Nothing is made a second time without a word.
  await sql(dsn, 'alter table public.runner_sql set schema app; alter table public.outbox set schema app')
  const refused = await apply(app)
  expect([refused.code, refused.stderr]).toEqual([
    3,
    expect.stringMatching(/applied files to the schema app.*--schema app.*--schema public/),
  ])
  expect(await outcomes(app, '--schema', 'app')).toEqual([0, 'app', ['unchanged', 'unchanged']])
})

test('--wait waits for the database to respond', async () => {
  const cwd = tempDir({ 'a.sql': 'select 1;' })
  const started = performance.now()
  const away = await runRunner(['sql', 'apply', 'a.sql', '--dsn', 'postgres://u@127.0.0.1:1/x', '--wait', '1500ms'], { cwd })
  expect([away.code, performance.now() - started > 1500]).toEqual([3, true])
})
