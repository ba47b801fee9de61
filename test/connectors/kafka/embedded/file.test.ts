/** What can be wrong with the file itself. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { embeddedDriver } from '../../../../src/connectors/kafka/embedded/driver.ts'
import { logKind } from '../../../../src/connectors/kafka/embedded/schema.ts'
import { ConnectionError, EnvironmentError } from '../../../../src/contract/plugin.ts'
import { localCheckpoints } from '../../../../src/runtime/checkpoints/local.ts'
import { openSqlite } from '../../../../src/kit/sqlite/sqlite.ts'
import { produce, producerOptions, readAll, record, values } from '../../../conformance/driver-lib.ts'
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

test('the file and its directories are made by the first use', async () => {
  const path = file('a/b/log.db')
  const driver = embeddedDriver({ path })
  await produce(driver, [record('t', 'x')])
  await driver.close()
  const again = embeddedDriver({ path })
  expect(values(await readAll(again, { topic: 't', partition: 0 }))).toEqual(['x'])
  await again.close()
})

test('a file that is no database is refused and stays as it is', async () => {
  const path = file('notes.txt')
  writeFileSync(path, 'my notes, which I need '.repeat(100))
  expect((await refusal(path)).message).toContain('not a SQLite database')
  expect(readFileSync(path, 'utf8')).toBe('my notes, which I need '.repeat(100))
})

test("somebody else's database is refused and stays as it is", async () => {
  const path = file('shop.db')
  const shop = new DatabaseSync(path)
  shop.exec('CREATE TABLE customer (name TEXT)')
  shop.close()
  const before = readFileSync(path)
  expect((await refusal(path)).message).toContain('no embedded log of this program')
  expect(readFileSync(path).equals(before)).toBe(true)
})

test('a checkpoint file is no log, and a log no checkpoint file', async () => {
  const path = file('checkpoints.db')
  const store = localCheckpoints({ id: 'p.1', path })
  await store.claim({ id: 'l', source: 's' })
  await store.close()
  expect((await refusal(path)).message).toContain('no embedded log')
  const log = file('swapped.db')
  const driver = embeddedDriver({ path: log })
  await driver.topics()
  await driver.close()
  await expect(localCheckpoints({ id: 'p.1', path: log }).claim({ id: 'l', source: 's' })).rejects.toThrow('no checkpoint file')
})

test('an unknown format version is refused and stays as it is', async () => {
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

test('a directory in the place of the file, and a file in the place of its directory', async () => {
  mkdirSync(file('directory.db'))
  expect((await refusal(file('directory.db'))).message).toContain('cannot be opened')
  writeFileSync(file('plain'), '')
  await refusal(join(file('plain'), 'log.db'))
})

test('a full disk is said clearly, breaks nothing, and is over when there is space again', async () => {
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

test('a write waits for the lock another process holds, without blocking the event loop for long', async () => {
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

test('a lock that is never given back ends as a ConnectionError', async () => {
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

test('many drivers open a file that is not there yet at the same time', async () => {
  const path = file('race/log.db')
  const drivers = Array.from({ length: 8 }, () => embeddedDriver({ path }))
  await Promise.all(drivers.map((driver, i) => produce(driver, [record('t', `${i}`)])))
  expect(values(await readAll(drivers[0], { topic: 't', partition: 0 })).toSorted()).toEqual(['0', '1', '2', '3', '4', '5', '6', '7'])
  await Promise.all(drivers.map(driver => driver.close()))
})
