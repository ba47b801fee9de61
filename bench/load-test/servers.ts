/** Where the load test runs: servers that are given, its own, or none at all. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { startKafka, type KafkaServer } from '../../test/support/servers/kafka.ts'
import { startPostgres, type PostgresServer } from '../../test/support/servers/postgres.ts'
import { root } from '../contenders/build.ts'

export const SQL = ['1-events', '2-ledger', '3-read-model', '4-audit'].map(name => join(root, `pipelines/sql/wallet-${name}.sql`))

export interface LoadTestServers {
  readonly brokers: string
  readonly dsn: string
  /** Own servers, which may be killed. */
  readonly kafka?: KafkaServer
  readonly postgres?: PostgresServer
  /** State directory of every process. */
  readonly dir: string
  stop(): Promise<void>
}

/** Own servers where none are given. Topics and tables are there afterwards. */
export async function startServers(given: { brokers?: string; dsn?: string }, say: (line: string) => void): Promise<LoadTestServers> {
  const dir = mkdtempSync(join(tmpdir(), 'load-test-'))
  let kafka: KafkaServer | undefined
  let postgres: PostgresServer | undefined
  const stop = async (): Promise<void> => {
    await postgres?.stop()
    await kafka?.stop()
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  }
  try {
    if (given.brokers === undefined)
      kafka = await startKafka({
        say,
        // Records carry the time at which the broker wrote them: one of the points by which an event's way is measured.
        properties: { 'broker.session.timeout.ms': 9000, 'log.message.timestamp.type': 'LogAppendTime' },
      })
    if (given.dsn === undefined)
      postgres = await startPostgres({
        settings: { fsync: 'on', full_page_writes: 'on', shared_buffers: '128MB', track_commit_timestamp: 'on' },
      })
    const brokers = given.brokers ?? kafka!.brokers
    const dsn = given.dsn ?? postgres!.dsn
    say(
      `Kafka: ${given.brokers === undefined ? `own, at ${brokers}` : 'given'}; PostgreSQL: ${given.dsn === undefined ? `own, at port ${postgres!.port}` : 'given'}`,
    )
    for (const path of SQL) await query(dsn, readFileSync(path, 'utf8'))
    await promisify(execFile)(process.execPath, [join(root, 'bin/runner.js'), 'topics', 'apply', join(root, 'topics/wallex.yaml')], {
      env: { ...process.env, KAFKA_BROKERS: brokers },
    })
    return { brokers, dsn, kafka, postgres, dir, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Rows of one statement, on a connection of its own. */
export async function query<T = Record<string, string>>(dsn: string, sql: string, params: unknown[] = []): Promise<T[]> {
  const db = new pg.Client({ connectionString: dsn, connectionTimeoutMillis: 5000 })
  db.on('error', () => {})
  await db.connect()
  try {
    return (await db.query(sql, params.length > 0 ? params : undefined)).rows as T[]
  } finally {
    await db.end().catch(() => {})
  }
}
