/** Exactly once with nothing installed: the log and the database are both in the runner's process, which is killed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { openPglite } from '../../src/kit/postgres/pglite/driver.ts'
import { eventually } from '../support/eventually.ts'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { embeddedBackend } from './lib/backend.ts'

test('embedded log to embedded PostgreSQL through kill -9: every row once, the total exact', async () => {
  const cwd = tempDir({
    'tables.sql': `
create table if not exists out (at bigint generated always as identity, id int, amount numeric);
create table if not exists total (sum numeric);
insert into total select 0 where not exists (select from total);`,
    'pipeline.yaml': `
name: embedded
sources: [ { kafka: { topics: [in-1], group: g } } ]
sinks:
  - postgres: { table: out, columns: [id, amount] }
  - postgres:
      statements:
        - sql: update total set sum = sum + (select coalesce(sum((x->>'amount')::numeric), 0) from jsonb_array_elements($batch) x)
delivery: exactly_once
commit_interval: 20ms
`,
  })
  const log = embeddedBackend(cwd)
  const env = { ...log.env, PG_DSN_RW: undefined }
  expect((await runRunner(['sql', 'apply', 'tables.sql'], { cwd, env })).code).toBe(0)
  const input = await log.topic('in')
  let sent = 0
  let over = false
  const feeding = (async () => {
    while (!over) {
      await log.produce(
        input,
        Array.from({ length: 50 }, () => ({ value: `{"id": ${sent}, "amount": ${sent++}.00000000000000000001}` })),
      )
      await sleep(20)
    }
  })()
  try {
    for (const wait of [500]) {
      const runner = startRunner(['run', 'pipeline.yaml', '--log-level', 'debug'], { cwd, env })
      const before = await log.committed('g', input)
      // It has committed something, and is in the middle of more.
      await eventually(async () => expect((await log.committed('g', input)).get(0)).toBeGreaterThan(before.get(0) ?? 0))
      await sleep(wait)
      runner.kill('SIGKILL')
      await runner.exited
    }
  } finally {
    over = true
    await feeding
  }
  const last = startRunner(['run', 'pipeline.yaml', '--until-idle', '1s'], { cwd, env })
  await last.exit(0, 60_000)
  await log.close()
  const driver = await openPglite(`${cwd}/.runner/pglite`)
  const { rows } = await driver.query(
    'select count(*) as n, count(distinct id) as ids, sum(amount) = (select sum from total) as exact from out',
  )
  await driver.close()
  expect(rows).toEqual([{ n: String(sent), ids: String(sent), exact: true }])
})
