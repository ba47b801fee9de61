/**
 * The state of a checkpoint while it is read: by store and key, so that overwritten and deleted entries are removed immediately, and the
 * rest becomes a lane's state without another copy. Ten million entries must fit into the memory that the running pipeline had.
 */
import { getHeapStatistics } from 'node:v8'
import { type Checkpoint, EnvironmentError, type Position } from '../contract/plugin.ts'

type Entry = readonly [store: string, key: string, json: string]

/** Maximum number of entries in a V8 Map. */
const MAX_ENTRIES = 2 ** 24 - 1

/** Entries of a checkpoint by store and key, the last one of each. */
export class KeptState implements Iterable<Entry> {
  readonly stores = new Map<string, Map<string, string>>()
  private written = 0

  static from(entries: Iterable<Entry>): KeptState {
    if (entries instanceof KeptState) return entries
    const kept = new KeptState()
    for (const [store, key, json] of entries) kept.set(store, key, json)
    return kept
  }

  /** @throws {EnvironmentError} for more entries than a store can hold. */
  set(store: string, key: string, json: string): void {
    let keys = this.stores.get(store)
    if (keys === undefined) this.stores.set(store, (keys = new Map()))
    if (keys.size === MAX_ENTRIES && !keys.has(key))
      throw new EnvironmentError(`the checkpoint holds more than ${MAX_ENTRIES} entries of store ${store}`)
    keys.set(key, json)
    if ((++this.written & 0xffff) === 0) assertRoom(store, this.written)
  }

  delete(store: string, key: string): void {
    this.stores.get(store)?.delete(key)
  }

  get size(): number {
    let n = 0
    for (const keys of this.stores.values()) n += keys.size
    return n
  }

  *[Symbol.iterator](): Iterator<Entry> {
    for (const [store, keys] of this.stores) for (const [key, json] of keys) yield [store, key, json]
  }
}

/** A process that runs out of memory ends without an error, after minutes. @throws {EnvironmentError} before that */
function assertRoom(store: string, entries: number): void {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics()
  if (used < limit * 0.9) return
  throw new EnvironmentError(
    `the checkpoint does not fit into memory: after ${entries} entries of state (the last of store ${store}) ${Math.round(used / 1_048_576)} MiB ` +
      `of ${Math.round(limit / 1_048_576)} MiB are in use; raise NODE_OPTIONS=--max-old-space-size, or start from scratch with --fresh`,
  )
}

const kept = new WeakMap<Checkpoint, KeptState>()

/** A checkpoint whose state becomes an array when it is read as one. */
export function keptCheckpoint(position: Position, state: KeptState): Checkpoint {
  const checkpoint = Object.defineProperty({ position }, 'state', { enumerable: true, get: () => [...state] }) as Checkpoint
  kept.set(checkpoint, state)
  return checkpoint
}

/** For the runtime, which takes ownership: nothing else may use it then. */
export const keptOf = (checkpoint: Checkpoint): KeptState => kept.get(checkpoint) ?? KeptState.from(checkpoint.state)
