/** Checkpoints in the sink's database. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect } from '../../../src/kit/postgres/connect.ts'
import { PostgresTransactor } from '../../../src/connectors/postgres/transactor.ts'
import { FencedError, type LaneInfo, UnknownOutcomeError } from '../../../src/contract/plugin.ts'
import { checkpointConformance } from '../../conformance/checkpoint.ts'
import { fakeContext } from '../../../src/testing/conformance/context.ts'
import { database } from '../../support/postgres.ts'
import { settings } from './make.ts'

const dir = mkdtempSync(join(tmpdir(), 'pglite-tx-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const lane = (n: number): LaneInfo => ({ id: `in/${n}`, source: 'in' })

describe.each([
  ['server', database],
  ['pglite', async () => `pglite:${join(dir, 'db')}`],
])('%s', (name, place) => {
  let dsn: Promise<string> | undefined
  // To make a database in the process takes longer than a test may, on a machine that is busy.
  beforeAll(async () => (await connect(settings(await (dsn ??= place())), fakeContext('x').log)).release())
  const open = async (id: string) => {
    const [pipeline, version = '1'] = id.split('.')
    return new PostgresTransactor(settings(await (dsn ??= place())), { ...fakeContext('out'), pipeline, version: Number(version) })
  }

  checkpointConformance(name, () => ({ open, lane }))

  test('outputs and position are atomic, also for a fenced owner', async () => {
    const { driver, release } = await connect(settings(await (dsn ??= place())), fakeContext('x').log)
    await driver.script('create table out (n int)')
    const count = async () => (await driver.query('select count(*) c from out')).rows[0].c
    const [old, young] = [await open('tx'), await open('tx')]
    await old.claim(lane(0))
    const first = await old.begin(lane(0))
    // Several sinks at once, each with savepoints of its own.
    await Promise.all(
      [1, 2, 3].map(n =>
        first.exclusive(async tx => {
          await tx.query('savepoint s')
          await tx.query('insert into out values ($1)', [n])
          await tx.query('release savepoint s')
        }),
      ),
    )
    await first.commit({ position: 3, state: [['s', 'nul\0\ud800', '1']] })
    expect(await count()).toBe('3')
    const second = await old.begin(lane(0))
    await second.exclusive(tx => tx.query('insert into out values (4)'))
    await second.abort()
    expect(await count()).toBe('3')
    expect(await young.claim(lane(0))).toEqual({ position: 3, state: [['s', 'nul\0\ud800', '1']] })
    await expect(old.begin(lane(0))).rejects.toBeInstanceOf(FencedError)
    for (const t of [old, young]) await t.close()
    await release()
  })

  if (name === 'server')
    test('a commit without a response is unknown; the claim decides', async () => {
      const { driver, release } = await connect(settings(await (dsn ??= place())), fakeContext('x').log)
      const owner = await open('unknown')
      await owner.claim(lane(0))
      const transaction = await owner.begin(lane(0))
      const { pid } = (await transaction.exclusive(tx => tx.query('select pg_backend_pid() pid'))).rows[0]
      // In the middle of COMMIT: a deferred constraint trigger that waits.
      await driver.script(`create table slow (n int); create function wait() returns trigger language plpgsql as $$ begin perform pg_sleep(5); return null; end $$;
        create constraint trigger t after insert on slow deferrable initially deferred for each row execute function wait()`)
      await transaction.exclusive(tx => tx.query('insert into slow values (1)'))
      // Judged from the start: the rejection can come before the answer of the query that causes it.
      const unknown = expect(transaction.commit({ position: 1, state: [] })).rejects.toBeInstanceOf(UnknownOutcomeError)
      await expect
        .poll(async () => (await driver.query('select query from pg_stat_activity where pid = $1', [pid])).rows[0]?.query)
        .toBe('commit')
      await driver.query('select pg_terminate_backend($1)', [pid])
      await unknown
      expect(await owner.claim(lane(0))).toBeUndefined()
      await owner.close()
      await release()
    })

  if (name === 'server')
    test('an owner that is frozen in its transaction is fenced by the next claim', async () => {
      const [old, young] = [await open('frozen'), await open('frozen')]
      await old.claim(lane(0))
      const transaction = await old.begin(lane(0))
      await transaction.exclusive(tx => tx.query('create table if not exists frozen (n int)'))
      expect(await young.claim(lane(0))).toBeUndefined()
      await expect(transaction.commit({ position: 9, state: [] })).rejects.toThrow()
      await young.save(lane(0), { position: 1, state: [] })
      await expect(old.begin(lane(0))).rejects.toBeInstanceOf(FencedError)
      expect((await young.claim(lane(0)))?.position).toBe(1)
      await old.close()
      await young.close()
    })
})
