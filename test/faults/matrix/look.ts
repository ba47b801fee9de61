/** Clients that are not ours. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Place } from './ends.ts'
import type { Peer } from './peers.ts'
import type { Seen } from './records.ts'

/** A database for the pair: its DSN, and the one that goes through the proxy. */
export const databaseOf = (place: Place): Promise<{ dsn: string; through: string }> => (place.database ??= made(place))

async function made({ peers, name }: Place): Promise<{ dsn: string; through: string }> {
  const peer = await peers.postgres()
  const dsn = await peer.server.database(name)
  const through = new URL(dsn)
  through.port = String(peer.port)
  return { dsn, through: through.href }
}

export async function psql(dsn: string, text: string): Promise<string> {
  const args = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', dsn, '-c', text]
  return (await promisify(execFile)('psql', args, { maxBuffer: 256 * 1024 * 1024 })).stdout
}

export const rows = async (dsn: string, select: string): Promise<Seen[]> =>
  (await psql(dsn, `SELECT row_to_json(r) FROM (${select}) r`))
    .split('\n')
    .filter(line => line !== '')
    .map(text => ({ text, key: '' }))

export async function redisCli(peer: Peer, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('redis-cli', ['-u', peer.direct, '--json', ...args], { maxBuffer: 256 * 1024 * 1024 })
  return stdout
}
