/** Tables of the embedded log. Change them only together with `version`. */
import { laneSchema } from '../../../kit/sqlite/lanes.ts'
import type { SqliteKind } from '../../../kit/sqlite/sqlite.ts'

/**
 * Records are stored in chunks, one row for up to a few hundred of them, like Kafka's record batches: one row per record costs three times
 * as much to write and five times as much to read. `chunk.next` is the offset after the chunk's last record. `part.next` is the end of the
 * log and the only source of offsets.
 */
const schema = `
  CREATE TABLE topic (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    config TEXT NOT NULL
  );
  CREATE TABLE part (
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    num INTEGER NOT NULL,
    first INTEGER NOT NULL DEFAULT 0,
    next INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, num)
  );
  CREATE TABLE chunk (
    id INTEGER PRIMARY KEY,
    part INTEGER NOT NULL,
    next INTEGER NOT NULL,
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    newest REAL NOT NULL,
    written REAL NOT NULL,
    data BLOB NOT NULL
  );
  CREATE UNIQUE INDEX chunk_at ON chunk (part, next, newest, written, bytes);
  CREATE TABLE grp (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL DEFAULT 0
  );
  CREATE TABLE member (
    id TEXT PRIMARY KEY,
    grp INTEGER NOT NULL,
    topics TEXT NOT NULL,
    seen REAL NOT NULL,
    session REAL NOT NULL,
    process TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE claim (
    grp INTEGER NOT NULL,
    part INTEGER NOT NULL,
    owner TEXT,
    target TEXT,
    since REAL NOT NULL,
    PRIMARY KEY (grp, part)
  ) WITHOUT ROWID;
  CREATE TABLE committed (
    grp INTEGER NOT NULL,
    part INTEGER NOT NULL,
    next INTEGER NOT NULL,
    metadata TEXT,
    PRIMARY KEY (grp, part)
  ) WITHOUT ROWID;
  CREATE TABLE housekeeping (id INTEGER PRIMARY KEY CHECK (id = 0), at REAL NOT NULL);
  INSERT INTO housekeeping VALUES (0, 0);
  ${laneSchema}`

export const logKind: SqliteKind = { what: 'embedded log', applicationId: 0x524c4f47, version: 1, schema }
