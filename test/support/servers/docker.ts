/** The shared servers in containers, where a Docker engine runs. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { KAFKA_VERSION } from './java.ts'
import { freePorts } from './ports.ts'
import { postgresReady } from './postgres.ts'
import { brokerReady } from './ready.ts'

const run = promisify(execFile)

/** The engine must answer, not just the command exist. */
export async function dockerRuns(): Promise<boolean> {
  try {
    await run('docker', ['info', '--format', '{{.ServerVersion}}'], { timeout: 5_000 })
    return true
  } catch {
    return false
  }
}

export async function startKafkaContainer(): Promise<{ brokers: string; stop(): Promise<void> }> {
  const [port] = await freePorts(1)
  const settings: Record<string, string | number> = {
    KAFKA_NODE_ID: 1,
    KAFKA_PROCESS_ROLES: 'broker,controller',
    KAFKA_CONTROLLER_QUORUM_VOTERS: '1@localhost:9093',
    KAFKA_CONTROLLER_LISTENER_NAMES: 'CONTROLLER',
    KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
    KAFKA_LISTENERS: `PLAINTEXT://0.0.0.0:${port},CONTROLLER://localhost:9093`,
    KAFKA_ADVERTISED_LISTENERS: `PLAINTEXT://127.0.0.1:${port}`,
    KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: 1,
    KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: 1,
    KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: 1,
    KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: 0,
    KAFKA_LOG_RETENTION_MS: -1,
    KAFKA_LOG_MESSAGE_TIMESTAMP_AFTER_MAX_MS: '9223372036854775807',
  }
  const env = Object.entries(settings).flatMap(([name, value]) => ['-e', `${name}=${value}`])
  const { stdout } = await run(
    'docker',
    ['run', '-d', '--rm', '-p', `127.0.0.1:${port}:${port}`, ...env, `apache/kafka:${KAFKA_VERSION}`],
    { timeout: 300_000 },
  )
  const id = stdout.trim()
  const stop = async () => {
    await run('docker', ['rm', '-f', id])
  }
  try {
    await brokerReady(port, 90_000)
  } catch (error) {
    await stop()
    throw error
  }
  return { brokers: `127.0.0.1:${port}`, stop }
}

export async function startPostgresContainer(): Promise<{ dsn: string; stop(): Promise<void> }> {
  const [port] = await freePorts(1)
  const { stdout } = await run(
    'docker',
    ['run', '-d', '--rm', '-p', `127.0.0.1:${port}:5432`, '-e', 'POSTGRES_PASSWORD=test', 'postgres:18-alpine'],
    { timeout: 300_000 },
  )
  const id = stdout.trim()
  const stop = async () => {
    await run('docker', ['rm', '-f', id])
  }
  const dsn = `postgres://postgres:test@127.0.0.1:${port}/postgres`
  try {
    await postgresReady(dsn, 90_000)
  } catch (error) {
    await stop()
    throw error
  }
  return { dsn, stop }
}
