/** Shared by all parts of the driver: the open file and its topics. */
import { openSqlite, type Durability, type Sqlite } from '../../../kit/sqlite/sqlite.ts'
import { checkEnds } from './read.ts'
import { startRetention } from './retention.ts'
import { logKind } from './schema.ts'
import { Topics } from './topics.ts'
import { inStateDir } from '../../../kit/state-dir.ts'

export interface EmbeddedOptions {
  /** Default `.runner/log.db`. */
  readonly path?: string
  /** Partitions of a topic that is created on first use. Default 1. */
  readonly defaultPartitions?: number
  /**
   * Default `normal`: committed data survives a killed process; a power failure may lose the last moments, but never part of a transaction,
   * because outputs, state and offsets are in the same file. This matches brokers: Kafka does not fsync each write either. `full` fsyncs
   * each commit.
   */
  readonly durability?: Durability
  /** Epoch ms, for retention. Default `Date.now`. */
  readonly now?: () => number
}

export interface Log {
  readonly db: Sqlite
  readonly topics: Topics
  now(): number
  close(): void
}

export async function openLog(options: EmbeddedOptions): Promise<Log> {
  const db = await openSqlite(options.path ?? inStateDir('log.db'), logKind, options.durability ?? 'normal')
  try {
    checkEnds(db)
  } catch (error) {
    db.close()
    throw error
  }
  const now = options.now ?? Date.now
  const stopRetention = startRetention(db, now)
  return {
    db,
    topics: new Topics(db, options.defaultPartitions ?? 1),
    now,
    close() {
      stopRetention()
      db.close()
    },
  }
}
