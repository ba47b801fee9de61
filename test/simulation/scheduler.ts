/**
 * Virtual time for a whole world of processes. Events happen one after the other, in order of their time; between two of them every
 * promise that can continue has continued. No real time passes, so the same seed gives the same events.
 */
import type { Clock } from '../../src/kit/clock.ts'

interface Event {
  due: number
  seq: number
  readonly fn: () => void
  /** The event happens in this process: it waits while the process is frozen, and is void when it is dead. */
  readonly process: Process | undefined
  void: boolean
}

export class Scheduler {
  /** Monotonic, ms. */
  time: number
  events = 0
  private readonly heap: Event[] = []
  private seq = 0

  constructor(start: number) {
    this.time = start
  }

  after(ms: number, fn: () => void, process?: Process): () => void {
    const event: Event = { due: this.time + Math.max(0, ms), seq: this.seq++, fn, process, void: false }
    this.push(event)
    return () => {
      event.void = true
    }
  }

  /** Runs until `done`, or until `limit` ms of virtual time have passed. @returns whether `done` came true */
  async run(done: () => boolean, limit: number): Promise<boolean> {
    const end = this.time + limit
    await settle()
    while (!done()) {
      const event = this.pop()
      if (event === undefined || event.due > end) {
        if (event) this.push(event)
        return false
      }
      if (event.void || event.process?.dead) continue
      if (event.process && event.process.frozenUntil > event.due) {
        // In the order in which they were due, as soon as the process runs again.
        event.due = event.process.frozenUntil
        event.seq = this.seq++
        this.push(event)
        continue
      }
      this.time = Math.max(this.time, event.due)
      this.events++
      event.fn()
      await settle()
    }
    return true
  }

  private push(event: Event): void {
    const { heap } = this
    let i = heap.push(event) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(event, heap[parent])) break
      heap[i] = heap[parent]
      i = parent
    }
    heap[i] = event
  }

  private pop(): Event | undefined {
    const { heap } = this
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++
      if (!before(heap[child], last)) break
      heap[i] = heap[child]
      i = child
    }
    heap[i] = last
    return first
  }
}

const before = (a: Event, b: Event): boolean => a.due < b.due || (a.due === b.due && a.seq < b.seq)

/** Every promise that waits for no external event has continued. */
const settle = (): Promise<void> => new Promise(resolve => void setImmediate(resolve))

/** A process of the pipeline: it can be frozen, killed, and its wall clock can be set. */
export class Process {
  readonly name: string
  readonly clock: Clock
  dead = false
  frozenUntil = 0
  /** By how much the wall clock is ahead, ms. */
  wall = 0

  constructor(name: string, scheduler: Scheduler) {
    this.name = name
    this.clock = {
      now: () => Math.round(scheduler.time + this.wall),
      monotonic: () => scheduler.time,
      after: (ms, fn) => scheduler.after(ms, fn, this),
    }
  }
}
