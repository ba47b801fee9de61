/** Errors of the file itself. */
import { mkdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { embeddedDriver } from '../../../../src/connectors/kafka/embedded/driver.ts'
import { logKind } from '../../../../src/connectors/kafka/embedded/schema.ts'
import { ConnectionError, EnvironmentError } from '../../../../src/contract/plugin.ts'
import { localCheckpoints } from '../../../../src/runtime/checkpoints/local.ts'
import { openSqlite } from '../../../../src/kit/sqlite/sqlite.ts'
import { consumerOptions, produce, producerOptions, readAll, record, values } from '../../../conformance/driver-lib.ts'
import { place } from './place.ts'

const file = place()

/** The error of the first use; the driver itself opens nothing. */
async function refusal(path: string): Promise<Error> {
  const driver = embeddedDriver({ path })
  const error = await driver.topics().then(
    () => undefined,
    e => e,
  )
  await driver.close()
  expect(error).toBeInstanceOf(EnvironmentError)
  expect(error.message).toContain(path)
  return error
}

test('the file and its directories are created on first use', async () => {
  const path = file('a/b/log.db')
  const driver = embeddedDriver({ path })
  await produce(driver, [record('t', 'x')])
  await driver.close()
  const again = embeddedDriver({ path })
  expect(values(await readAll(again, { topic: 't', partition: 0 }))).toEqual(['x'])
  await again.close()
})

test('a file that is not a database is rejected and unchanged', async () => {
  const path = file('notes.txt')
  writeFileSync(path, 'my notes, which I need '.repeat(100))
  expect((await refusal(path)).message).toContain('not a SQLite database')
  expect(readFileSync(path, 'utf8')).toBe('my notes, which I need '.repeat(100))
})

test('a database of another program is rejected and unchanged', async () => {
  const path = file('shop.db')
  const shop = new DatabaseSync(path)
  shop.exec('CREATE TABLE customer (name TEXT)')
  shop.close()
  const before = readFileSync(path)
  expect((await refusal(path)).message).toContain('not the embedded log of this program')
  expect(readFileSync(path).equals(before)).toBe(true)
})

test('a checkpoint file is not accepted as a log, nor a log as a checkpoint file', async () => {
  const path = file('checkpoints.db')
  const store = localCheckpoints({ id: 'p.1', path })
  await store.claim({ id: 'l', source: 's' })
  await store.close()
  expect((await refusal(path)).message).toContain('not the embedded log')
  const log = file('swapped.db')
  const driver = embeddedDriver({ path: log })
  await driver.topics()
  await driver.close()
  await expect(localCheckpoints({ id: 'p.1', path: log }).claim({ id: 'l', source: 's' })).rejects.toThrow('not the checkpoint file')
})

test('an unknown format version is rejected and the file is unchanged', async () => {
  const path = file('future.db')
  const driver = embeddedDriver({ path })
  await produce(driver, [record('t', 'x')])
  await driver.close()
  const future = new DatabaseSync(path)
  future.exec('PRAGMA user_version = 99')
  future.close()
  const { message } = await refusal(path)
  expect(message).toContain('format 99')
  expect(message).toContain(`format ${logKind.version}`)
})

test('a directory in place of the file, and a file in place of its directory, are errors', async () => {
  mkdirSync(file('directory.db'))
  expect((await refusal(file('directory.db'))).message).toContain('cannot be opened')
  writeFileSync(file('plain'), '')
  await refusal(join(file('plain'), 'log.db'))
})

test('a full disk is reported, corrupts no data, and writes resume when space is free', async () => {
  const path = file('full.db')
  const driver = embeddedDriver({ path })
  const lane = { id: 't/0', source: 's', topic: 't', partition: 0, group: 'g' }
  await produce(driver, [record('t', 'before')])
  const transactor = driver.transactor({ id: 'p.1', producer: producerOptions })
  await transactor.claim(lane)
  // The same connection: SQLite answers SQLITE_FULL at this bound just as it does when the disk has no more.
  const db = await openSqlite(path, logKind, 'normal')
  const { page_count: pages } = db.get<{ page_count: number }>('PRAGMA page_count')!
  db.get(`PRAGMA max_page_count = ${pages + 20}`)
  const big = Array.from({ length: 300 }, (_, i) => record('t', `${i}`.padEnd(2000)))
  await expect(produce(driver, big)).rejects.toThrow(EnvironmentError)
  await expect(produce(driver, big)).rejects.toThrow('the disk is full')
  const transaction = await transactor.begin(lane)
  await (transaction as unknown as { send(r: unknown): Promise<void> }).send(big)
  await expect(transaction.commit({ position: 1, state: [['s', 'k', '1']] })).rejects.toThrow('the disk is full')
  expect(values(await readAll(driver, { topic: 't', partition: 0 }))).toEqual(['before'])
  expect(await transactor.claim(lane)).toBeUndefined()

  db.get('PRAGMA max_page_count = 1073741823')
  await produce(driver, big)
  expect((await readAll(driver, { topic: 't', partition: 0 })).length).toBe(301)
  db.close()
  await driver.close()
})

test('a write waits for the lock of another process without blocking the event loop for long', async () => {
  const path = file('locked.db')
  const driver = embeddedDriver({ path })
  await produce(driver, [record('t', '1')])
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  let longest = 0
  let last = performance.now()
  const pulse = setInterval(() => {
    longest = Math.max(longest, performance.now() - last)
    last = performance.now()
  }, 5)
  let done = false
  const write = produce(driver, [record('t', '2')]).then(() => (done = true))
  await new Promise(resolve => setTimeout(resolve, 1500))
  expect(done).toBe(false)
  other.exec('ROLLBACK')
  await write
  clearInterval(pulse)
  expect(longest).toBeLessThan(1000)
  expect(values(await readAll(driver, { topic: 't', partition: 0 }))).toEqual(['1', '2'])
  other.close()
  await driver.close()
})

test('a lock that is never released ends in a ConnectionError', async () => {
  const path = file('stuck.db')
  const driver = embeddedDriver({ path })
  await driver.topics()
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  const error = await produce(driver, [record('t', '1')]).catch(e => e)
  expect(error).toBeInstanceOf(ConnectionError)
  expect(error.message).toContain('locked by another process')
  other.exec('ROLLBACK')
  other.close()
  await driver.close()
})

test('many drivers can open a missing file at the same time', async () => {
  const path = file('race/log.db')
  const drivers = Array.from({ length: 8 }, () => embeddedDriver({ path }))
  await Promise.all(drivers.map((driver, i) => produce(driver, [record('t', `${i}`)])))
  expect(values(await readAll(drivers[0], { topic: 't', partition: 0 })).toSorted()).toEqual(['0', '1', '2', '3', '4', '5', '6', '7'])
  await Promise.all(drivers.map(driver => driver.close()))
})

test('a log of 0 bytes is rejected and unchanged', async () => {
  const path = file('empty.db')
  writeFileSync(path, '')
  expect((await refusal(path)).message).toMatch(/has 0 bytes: its content is lost.*delete it/)
  expect(readFileSync(path).length).toBe(0)
})

test('any flipped bit on the disk is detected, or does not affect reads', async () => {
  const path = file('flipped.db')
  const driver = embeddedDriver({ path })
  const records = Array.from({ length: 300 }, (_, i) => record('t', `value ${i} `.repeat(20)))
  for (let i = 0; i < records.length; i += 50) await produce(driver, records.slice(i, i + 50))
  await driver.close()
  const bytes = readFileSync(path)
  const good = records.map(r => String(r.value))
  const read = async (): Promise<string[]> => {
    const again = embeddedDriver({ path })
    try {
      return values(await readAll(again, { topic: 't', partition: 0 })) as string[]
    } finally {
      await again.close()
    }
  }
  expect(await read()).toEqual(good)
  let noticed = 0
  // Over the whole file, and each time another bit.
  for (let i = 0; i < 400; i++) {
    const at = Math.floor((i / 400) * bytes.length)
    const flipped = Buffer.from(bytes)
    flipped[at] ^= 1 << (i % 8)
    writeFileSync(path, flipped)
    for (const end of ['-wal', '-shm']) rmSync(path + end, { force: true })
    const seen = await read().catch((error: Error) => error)
    if (seen instanceof Error) noticed++
    else expect(seen, `byte ${at}, bit ${i % 8}`).toEqual(good)
  }
  expect(noticed).toBeGreaterThan(100)
})

test('damaged records are named by file, topic and offset', async () => {
  const path = file('named.db')
  const driver = embeddedDriver({ path })
  for (const value of ['a', 'b', 'c']) await produce(driver, [record('t', value)])
  await driver.close()
  const db = new DatabaseSync(path)
  const { data } = db.prepare('SELECT data FROM chunk WHERE next = 2').get() as { data: Uint8Array }
  const flipped = Uint8Array.from(data)
  flipped[flipped.length - 5] ^= 1
  db.prepare('UPDATE chunk SET data = ? WHERE next = 2').run(flipped)
  db.close()
  const again = embeddedDriver({ path })
  const error = await readAll(again, { topic: 't', partition: 0 }).catch((e: Error) => e)
  await again.close()
  expect(error).toBeInstanceOf(EnvironmentError)
  expect((error as Error).message).toBe(
    `the embedded log ${path} is damaged: the records of t/0 from offset 1 on cannot be read (its checksum does not match). ` +
      'Restore the file from a copy, or skip these records with runner offsets reset',
  )
})

test.each([
  ['deleted', (path: string) => rmSync(path), /was deleted while it was in use/],
  ['emptied', (path: string) => truncateSync(path, 0), /was emptied while it was in use|is damaged/],
  [
    'replaced',
    (path: string) => {
      writeFileSync(`${path}.other`, readFileSync(path))
      renameSync(`${path}.other`, path)
    },
    /was replaced by another file while it was in use/,
  ],
])('a file that is %s during a run is detected by reads and writes', async (what, fault, message) => {
  const path = file(`${what}-live.db`)
  const driver = embeddedDriver({ path })
  const consumer = driver.consumer({ ...consumerOptions, topics: ['t'], group: 'g' })
  await produce(driver, [record('t', 'before')])
  await consumer.open({ assigned: async () => new Map(), revoked: async () => {}, lost() {} })
  expect((await consumer.poll(AbortSignal.timeout(10_000))).messages.map(m => m.payload!.toString())).toEqual(['before'])
  fault(path)
  // Nothing comes: the member's own heartbeat finds it.
  await expect(consumer.poll(AbortSignal.timeout(10_000))).rejects.toThrow(message)
  await expect(produce(driver, [record('t', 'after')])).rejects.toThrow(message)
  await consumer.close().catch(() => {})
  await driver.close().catch(() => {})
})
