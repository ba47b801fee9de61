/** Two processes of one identity whose checkpoints are in one PostgreSQL database. */
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { database, sql } from '../support/postgres.ts'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { kafkaBackend } from './lib/backend.ts'

test('kafka to PostgreSQL: another table is refused, the same content shares the partitions', async () => {
  const dsn = await database()
  await sql(dsn, 'create table a (n int)')
  await sql(dsn, 'create table b (n int)')
  const backend = await kafkaBackend()
  const name = `live-${Math.random().toString(36).slice(2, 8)}`
  const file = `
name: ${name}
sources: [{ kafka: { topics: ["\${IN}"] } }]
sinks: [{ postgres: { dsn: "\${DSN}", table: "\${TABLE:-a}", columns: [n] } }]
delivery: exactly_once
metrics: { enabled: false }
`
  try {
    const IN = await backend.topic('in', 4)
    const options = (env: Record<string, string> = {}) => ({
      cwd: tempDir({ 'p.yaml': file }),
      env: { ...backend.env, IN, DSN: dsn, ...env },
    })
    const first = startRunner(['run', 'p.yaml'], options())
    await eventually(async () => expect(await backend.members(name)).toEqual({ count: 1, stable: true }))
    const refused = await runRunner(['run', 'p.yaml', '--log-format', 'json'], options({ TABLE: 'b' }))
    expect([refused.code, refused.stderr]).toEqual([
      3,
      expect.stringContaining(String.raw`sinks.postgres.table: running \"a\", here \"b\"`),
    ])
    expect(refused.stderr).not.toContain(new URL(dsn).password || 'no password')
    const second = startRunner(['run', 'p.yaml'], options({ DSN: `${dsn}?application_name=other` }))
    await eventually(async () => expect(await backend.members(name)).toEqual({ count: 2, stable: true }))
    await backend.produce(
      IN,
      Array.from({ length: 400 }, (_, n) => ({ key: `k${n}`, partition: n % 4, value: `{"n":${n}}` })),
    )
    await eventually(async () =>
      expect(await sql(dsn, 'select count(*)::int n, count(distinct n)::int d from a')).toEqual([{ n: 400, d: 400 }]),
    )
    for (const runner of [first, second]) runner.kill()
    for (const runner of [first, second]) await runner.exit(0)
    expect(await sql(dsn, 'select * from b')).toEqual([])
  } finally {
    await backend.close()
  }
})

test('file to PostgreSQL from two machines: each row once, and one of the two stops', async () => {
  const dsn = await database()
  await sql(dsn, 'create table a (n int)')
  const cwd = tempDir({
    'p.yaml': `
name: twice
sources: [{ file: { path: in.jsonl, follow: true, poll_interval: 50ms } }]
sinks: [{ postgres: { dsn: "${dsn}", table: a, columns: [n] } }]
delivery: exactly_once
metrics: { enabled: false }
`,
    'in.jsonl': '{"n":0}\n',
  })
  // A state directory each is what two machines have.
  const runners = ['one', 'two'].map(dir => startRunner(['run', 'p.yaml'], { cwd, env: { RUNNER_STATE_DIR: join(cwd, dir) } }))
  let n = 0
  const feed = setInterval(() => appendFileSync(join(cwd, 'in.jsonl'), `{"n":${++n}}\n`), 100)
  const stopped = await Promise.race(runners.map(async runner => ({ runner, ...(await runner.exited) })))
  clearInterval(feed)
  expect([stopped.code, stopped.runner.stderr]).toEqual([3, expect.stringMatching(/takes lane in\.jsonl alternately with this one/)])
  await eventually(async () =>
    expect(await sql(dsn, 'select count(*)::int n, count(distinct n)::int d from a')).toEqual([{ n: n + 1, d: n + 1 }]),
  )
  const other = runners.find(r => r !== stopped.runner)!
  other.kill()
  await other.exit(0)
})
