/**
 * Kafka to PostgreSQL, exactly once: the runner is killed, the server is stopped the hard way, and commits lose their answers.
 * The table has no key and the total only adds up, so that anything lost or doubled would show.
 */
import { createServer, connect as dial, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Backend, embeddedBackend, kafkaBackend } from '../e2e/lib/backend.ts'
import { sql } from '../support/postgres.ts'
import { type Runner, startRunner, tempDir } from '../support/runner.ts'
import { type PostgresServer, startPostgres } from '../support/servers/postgres.ts'

const KILLS = Number(process.env.FAULT_KILLS ?? 3)
const RESTARTS = Number(process.env.FAULT_RESTARTS ?? 3)
const SEED = Number(process.env.FAULT_SEED ?? 20_261_124)
const PARTITIONS = 2

let server: PostgresServer
let proxy: Server
let backend: Backend
/** Commits cut off: before the server had them, and after. */
const cut = { before: 0, after: 0 }
let seed = SEED
const random = (): number => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) / 2 ** 32

beforeAll(async () => {
  ;[server, backend] = await Promise.all([startPostgres(), kafkaBackend()])
  proxy = createServer(client => {
    const upstream = dial({ host: '127.0.0.1', port: server.port })
    const end = (): void => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
    let deaf = false
    client.on('data', chunk => {
      if (chunk.includes('commit\0') && random() < 0.1) {
        if (random() < 0.5) {
          cut.before++
          return end()
        }
        // The server commits; the answer never arrives.
        cut.after++
        deaf = true
        setTimeout(end, 20)
      }
      upstream.write(chunk)
    })
    upstream.on('data', chunk => void (deaf || client.write(chunk)))
  })
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
})
afterAll(async () => {
  proxy?.close()
  await backend?.close()
  await server?.stop()
})

test(`${KILLS} kills, ${RESTARTS} immediate server stops, commits without a response: nothing is lost or duplicated`, {
  timeout: 600_000,
}, async () => {
  const own = await server.database('target')
  await sql(
    own,
    'create table out (at bigint generated always as identity, id int, amount numeric, part int); create table total (sum numeric); insert into total values (0)',
  )
  const dsn = new URL(own)
  dsn.port = String((proxy.address() as { port: number }).port)
  const topic = await backend.topic('orders', PARTITIONS)
  const dir = tempDir({
    'pipeline.yaml': `
name: ${topic}
sources:
  - kafka: { topics: [${topic}], group: ${topic}, session_timeout: 6s }
sinks:
  - postgres: { table: out, columns: { id: id, amount: amount, part: meta.partition } }
  - postgres:
      statements:
        - sql: update total set sum = sum + (select coalesce(sum((x->>'amount')::numeric), 0) from jsonb_array_elements($batch) x)
delivery: exactly_once
commit_interval: 50ms
retry: { initial_delay: 50ms, max_delay: 500ms }
`,
  })
  const start = (): Runner => startRunner(['run', 'pipeline.yaml'], { cwd: dir, env: { ...backend.env, PG_DSN_RW: dsn.href } })
  let sent = 0
  let over = false
  const amount = (id: number): string => `${id}.0000000000000000000${(id % 9) + 1}`
  const feeding = (async () => {
    while (!over) {
      const records = Array.from({ length: 20 }, () => ({
        value: `{"id": ${sent}, "amount": ${amount(sent)}}`,
        partition: sent++ % PARTITIONS,
      }))
      await backend.produce(topic, records)
      await sleep(20)
    }
  })()
  feeding.catch(() => {})
  const count = async (): Promise<number> => {
    for (;;) {
      try {
        return Number((await sql<{ c: string }>(own, 'select count(*) c from out'))[0].c)
      } catch {
        await sleep(100)
      }
    }
  }
  const progress = async (): Promise<void> => {
    const from = await count()
    for (const deadline = Date.now() + 120_000; (await count()) < from + 100; await sleep(50))
      if (Date.now() > deadline) throw new Error(`no progress beyond ${from} rows\n${runner.stderr.slice(-4000)}`)
    await sleep(random() * 400)
  }
  let runner = start()
  const faults = [...Array.from({ length: KILLS }, () => 'kill'), ...Array.from({ length: RESTARTS }, () => 'restart')]
  faults.sort(() => random() - 0.5)
  for (const fault of faults) {
    await progress()
    if (fault === 'kill') {
      runner.kill('SIGKILL')
      await runner.exited
      runner = start()
    } else {
      await server.immediate()
      await sleep(random() * 500)
      await server.start()
    }
  }
  await progress()
  over = true
  await feeding
  for (const deadline = Date.now() + 120_000; (await count()) < sent && Date.now() < deadline; ) await sleep(100)
  runner.kill('SIGTERM')
  await runner.exit(0)
  const [{ rows, ids, sum }] = await sql(own, 'select count(*)::int rows, count(distinct id)::int ids, sum(amount)::text sum from out')
  expect({ rows, ids }, JSON.stringify(cut)).toEqual({ rows: sent, ids: sent })
  expect(await sql(own, 'select sum::text from total')).toEqual([{ sum }])
  // A lane's rows are written in its order.
  const order = 'select part, array_agg(id order by at) = array_agg(id order by id) as ordered from out group by part'
  expect((await sql(own, order)).map(r => r.ordered)).toEqual([true, true])
  console.log(`${sent} records, ${KILLS} kills, ${RESTARTS} immediate stops, commits cut before ${cut.before}, after ${cut.after}`)
  expect(cut.before + cut.after).toBeGreaterThan(0)
})

test('the server of a lookup is stopped: messages wait, and none is lost, duplicated or dead-lettered', async () => {
  const dsn = await server.database('lookups')
  await sql(dsn, "create table name (id int primary key, name text); insert into name select i, 'n' || i from generate_series(0, 99) i")
  const cwd = tempDir({
    'pipeline.yaml': `
name: lookups
sources: [ { kafka: { topics: [in-1], group: g } } ]
transforms:
  - lookup: { query: "select id, name from name where id = any($keys)", key: id % 100, as: found, ttl: 0s }
sinks: [ { kafka: out } ]
dlq: { kafka: dead }
delivery: exactly_once
retry: { initial_delay: 50ms, max_delay: 500ms }
`,
  })
  const log = embeddedBackend(cwd)
  const input = await log.topic('in')
  let sent = 0
  const feed = (n: number) =>
    log.produce(
      input,
      Array.from({ length: n }, () => ({ value: `{"id": ${sent++}}` })),
    )
  await feed(2_000)
  const runner = startRunner(['run', 'pipeline.yaml'], { cwd, env: { ...log.env, PG_DSN_RW: dsn } })
  try {
    await log.waitFor('out', 2_000)
    for (let i = 0; i < 2; i++) {
      await feed(1_000)
      await server.immediate()
      await feed(1_000)
      await runner.line(/transform failed, trying again/)
      await server.start()
      await log.waitFor('out', sent)
    }
    // Stopped while its server is away, it ends in time, and the next run goes on where it was.
    await server.immediate()
    await feed(500)
    await sleep(500)
    runner.kill('SIGTERM')
    await runner.exit(0)
    await server.start()
    await startRunner(['run', 'pipeline.yaml', '--until-idle', '1s'], { cwd, env: { ...log.env, PG_DSN_RW: dsn } }).exit(0)
    const out = (await log.readAll('out')).map(r => JSON.parse(String(r.value)) as { id: number; found: { name: string } })
    expect(out.map(r => r.id)).toEqual(Array.from({ length: sent }, (_, i) => i))
    expect(out.every(r => r.found.name === `n${r.id % 100}`)).toBe(true)
    expect(await log.readAll('dead').catch(() => [])).toEqual([])
  } finally {
    await log.close()
  }
})
