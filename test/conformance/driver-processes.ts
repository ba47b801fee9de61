import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import type { Driver } from '../../src/connectors/kafka/driver.ts'
import type { ChildTask } from './driver-child.ts'
import { type ChildDriver, Drivers, laneOf, newTopic, producerOptions, readAll, record, unique, until, values } from './driver-lib.ts'

const PARTITIONS = 2
const PER_PARTITION = 20_000

/** A copying worker in a process of its own. */
export class Worker {
  readonly child: ChildProcess
  private errors = ''

  constructor(task: ChildTask) {
    this.child = fork(fileURLToPath(new URL('driver-child.ts', import.meta.url)), [JSON.stringify(task)], {
      // The test runner's own hooks and flags have no business in there.
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.child.stderr!.on('data', chunk => (this.errors += chunk))
  }

  async ready(): Promise<void> {
    await Promise.race([
      once(this.child, 'message'),
      once(this.child, 'exit').then(() => Promise.reject(new Error(`the worker died: ${this.errors}`))),
    ])
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const exit = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exit
  }

  /** Ends it in good order. @throws when it ends badly. */
  async stop(): Promise<void> {
    const exit = once(this.child, 'exit')
    this.child.send('stop')
    const [code] = await exit
    if (code !== 0) throw new Error(`the worker ended with ${code}: ${this.errors}`)
  }

  /** Did it end without being killed? Then something threw. */
  get crash(): string | undefined {
    return this.child.exitCode !== null && this.child.exitCode !== 0 ? this.errors : undefined
  }
}

/** The copy is exact: every record once, in order, and the state agrees with it. */
export async function checkCopy(driver: Driver, task: ChildTask, partitions: number, perPartition: number): Promise<void> {
  const transactor = driver.transactor({ id: task.id, producer: producerOptions })
  for (let partition = 0; partition < partitions; partition++) {
    const copied = values(await readAll(driver, { topic: task.output, partition }))
    const expected = Array.from({ length: perPartition }, (_, i) => `${partition}-${i}`)
    // Counted first: a diff of 20,000 lines is unreadable.
    expect({ partition, copied: copied.length, distinct: new Set(copied).size }).toEqual({
      partition,
      copied: perPartition,
      distinct: perPartition,
    })
    expect(copied.every((value, i) => value === expected[i])).toBe(true)
    const checkpoint = await transactor.claim(laneOf(task.input, partition, task.group))
    expect(checkpoint?.state).toEqual([['copied', 'n', String(perPartition)]])
  }
}

/** Writes `<partition>-<n>` with n from `from` to `to`, in small batches: a driver hands out whole batches, and the copy is to take many steps. */
export async function fillInput(driver: Driver, topic: string, partitions: number, from: number, to: number): Promise<void> {
  const producer = await driver.producer(producerOptions)
  for (let i = from; i < to; i += 20)
    for (let partition = 0; partition < partitions; partition++)
      await producer.send(Array.from({ length: Math.min(20, to - i) }, (_, j) => record(topic, `${partition}-${i + j}`, { partition })))
  await producer.close()
}

/** True when the group has committed the end of the input. */
export async function copyIsDone(driver: Driver, task: ChildTask, partitions: number): Promise<boolean> {
  const tps = Array.from({ length: partitions }, (_, partition) => ({ topic: task.input, partition }))
  const [committed, ends] = await Promise.all([driver.committed(task.group, tps), driver.offsets(tps, 'latest')])
  return [...ends].every(([key, end]) => committed.get(key)?.offset === end)
}

export function processRows(makeDriver: () => Driver | Promise<Driver>, child: ChildDriver): void {
  const drivers = new Drivers(makeDriver)
  const workers: Worker[] = []
  afterEach(async () => {
    for (const worker of workers.splice(0)) await worker.kill()
    await drivers.closeAll()
  })

  test('kill -9 in the middle of transactions leaves no partial output: the copy is exact', async () => {
    const driver = await drivers.driver()
    const task: ChildTask = {
      ...child,
      input: await newTopic(driver, PARTITIONS),
      output: await newTopic(driver, PARTITIONS),
      group: unique('g'),
      id: `${unique('p')}.1`,
      maxBytes: 2_000,
      sessionTimeoutMs: 6_000,
      holdMs: 5,
    }
    await fillInput(driver, task.input, PARTITIONS, 0, PER_PARTITION)
    const progress = async () => {
      const tps = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic: task.output, partition }))
      return [...(await driver.offsets(tps, 'latest')).values()].reduce((a, b) => a + b, 0)
    }
    for (let round = 0; round < 4; round++) {
      expect(await copyIsDone(driver, task, PARTITIONS), 'there is nothing left to interrupt').toBe(false)
      const before = await progress()
      const worker = new Worker(task)
      workers.push(worker)
      await worker.ready()
      await until('the worker copies', async () => (await progress()) > before, 60_000)
      await sleep(Math.random() * 60)
      await worker.kill()
      expect(worker.crash).toBeUndefined()
    }
    const last = new Worker({ ...task, maxBytes: 200_000, holdMs: 0 })
    workers.push(last)
    await last.ready()
    await until('the copy is done', () => copyIsDone(driver, task, PARTITIONS), 90_000)
    await last.stop()
    await checkCopy(driver, task, PARTITIONS, PER_PARTITION)
  })
}
