/** `runner sql apply`, on a real server and on the database in the process. */
import { expect, test } from 'vitest'
import { database, sql } from '../../support/postgres.ts'
import { runRunner, tempDir } from '../../support/runner.ts'

test.each(['server', 'pglite'])('applies files once, in order, each as a whole (%s)', async kind => {
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
  expect([first.code, first.stdout.replaceAll(/ +/g, ' ')]).toEqual([0, 'applied 01_table.sql\napplied 02_rows.sql\n'])
  expect(JSON.parse((await apply(['.', '--json'])).stdout).files.map((f: { outcome: string }) => f.outcome)).toEqual([
    'unchanged',
    'unchanged',
  ])
  if (dsn !== undefined) expect(await sql(dsn, 'select note from t order by id')).toEqual([{ note: 'a;b' }, { note: 'x;y' }])
})

test('a file that fails leaves nothing behind, and says where', async () => {
  const dsn = await database()
  const cwd = tempDir({ 'a.sql': 'create table x (id int);\n\ninsert into nowhere values (1);' })
  const failed = await runRunner(['sql', 'apply', 'a.sql', '--dsn', dsn], { cwd })
  expect([failed.code, failed.stderr]).toEqual([
    3,
    expect.stringMatching(/^a\.sql:3: .*relation "nowhere" does not exist.*nothing of the file was kept/),
  ])
  expect(await sql(dsn, "select to_regclass('x') as x")).toEqual([{ x: null }])
  expect((await runRunner(['sql', 'apply', 'missing.sql', '--dsn', dsn], { cwd })).code).toBe(2)
  expect((await runRunner(['sql', 'apply', 'a.sql', '--dsn', 'postgres://u@127.0.0.1:1/x'], { cwd })).code).toBe(3)
  expect((await runRunner(['sql', 'apply', '--help'])).stdout).toMatch(/Example:/)
})
