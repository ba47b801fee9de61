/** Three processes copy a topic on one file while they are killed, frozen, stopped and started: the copy must be exact. */
import { afterEach, expect, test } from 'vitest'
import { embeddedDriver } from '../../../../src/connectors/kafka/embedded/driver.ts'
import { Drivers, newTopic, unique, until } from '../../../conformance/driver-lib.ts'
import { checkCopy, copyIsDone, fillInput, Worker } from '../../../conformance/driver-processes.ts'
import { seeded } from '../../../support/random.ts'
import { place } from './place.ts'

const file = place()
const path = file('log.db')
const drivers = new Drivers(() => embeddedDriver({ path }))
const workers = new Set<Worker>()
const PARTITIONS = 6
const FAULTS = Number(process.env.STRESS_FAULTS ?? 12)
const SEED = Number(process.env.STRESS_SEED ?? Date.now() % 1_000_000)

afterEach(async () => {
  for (const worker of workers) await worker.kill()
  workers.clear()
  await drivers.closeAll()
})

test(`output is exactly once through ${FAULTS} faults, seed ${SEED}`, async () => {
  const random = seeded(SEED)
  const driver = await drivers.driver()
  const task = {
    module: new URL('make.ts', import.meta.url).href,
    options: { path },
    input: await newTopic(driver, PARTITIONS),
    output: await newTopic(driver, PARTITIONS),
    group: unique('g'),
    id: `${unique('p')}.1`,
    maxBytes: 20_000,
    sessionTimeoutMs: 1000,
    holdMs: 4,
  }
  const start = () => {
    const worker = new Worker(task)
    workers.add(worker)
    return worker.ready()
  }
  let filled = 0
  let over = false
  const fill = async () => {
    while (!over) {
      await fillInput(driver, task.input, PARTITIONS, filled, filled + 100)
      filled += 100
      await pause(5)
    }
  }
  const filling = fill()
  await Promise.all([start(), start(), start()])
  for (let fault = 0; fault < FAULTS; fault++) {
    await pause(random() * 250)
    const victim = [...workers][Math.floor(random() * workers.size)]
    const kind = ['kill', 'freeze', 'kill', 'stop'][fault % 4]
    if (kind === 'kill') {
      workers.delete(victim)
      await victim.kill()
      await start()
    } else if (kind === 'freeze') {
      // Longer than its session: the others take its partitions, and it wakes up in the middle of a transaction. Once in a while
      // in the middle of a write of the file: then the others wait as long, and must continue as before.
      victim.child.kill('SIGSTOP')
      await pause(1300)
      victim.child.kill('SIGCONT')
    } else {
      workers.delete(victim)
      await victim.stop()
      await start()
    }
    for (const worker of workers) expect(worker.crash).toBeUndefined()
  }
  over = true
  await filling
  await until('the copy is done', () => copyIsDone(driver, task, PARTITIONS), 60_000)
  for (const worker of workers) await worker.stop()
  workers.clear()
  await checkCopy(driver, task, PARTITIONS, filled)
})

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
