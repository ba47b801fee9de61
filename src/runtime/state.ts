/** Keyed state of one lane: in memory, and durable with the checkpoint of the lane. */
import {
  type Checkpoint,
  type CheckpointDelta,
  DataError,
  encodeJson,
  type Json,
  jsonProblem,
  parseJson,
  type State,
} from '../contract/plugin.ts'
import { keptOf } from '../kit/kept-state.ts'

/**
 * The entry of a checkpoint that describes its origin, see `identity.ts`. It does not collide with stores of steps, whose names contain a
 * dot.
 */
export const MANIFEST_STORE = ''
export const MANIFEST_KEY = 'made_from'

/** Memory of an entry besides its key and value: map slots, and the headers of a string and an object. */
const ENTRY_BYTES = 150

class Store<V extends Json> implements State<V> {
  readonly map = new Map<string, V>()
  /**
   * Restored entries that have not been read yet, as JSON. Parsing all of them at once would take more memory than the previous run used.
   */
  private restored: Map<string, string> | undefined
  readonly dirty = new Set<string>()
  /** For an external plugin: values are checked to be JSON in `set`, while the record in process is known. */
  checked = false
  private weighed = 0
  private characters = 0

  restore(entries: Map<string, string>): void {
    // A sample of every thousandth entry is sufficient.
    let i = 0
    for (const [key, json] of entries) if (i++ % 1000 === 0) this.weigh(key, json)
    this.restored = entries.size > 0 ? entries : undefined
  }

  weigh(key: string, json: string): void {
    // Older samples lose weight, so that the average follows the current entries.
    if (this.weighed >= 100_000) {
      this.weighed /= 2
      this.characters /= 2
    }
    this.weighed++
    this.characters += key.length + json.length
  }

  /** An estimate from the average size of written and restored entries. */
  get bytes(): number {
    return this.weighed === 0 ? 0 : Math.round(this.size * (ENTRY_BYTES + this.characters / this.weighed))
  }

  get(key: string): V | undefined {
    const value = this.map.get(key)
    if (value !== undefined || this.restored === undefined) return value
    const json = this.restored.get(key)
    if (json === undefined) return undefined
    const parsed = parseJson(json) as V
    this.forget(key)
    this.map.set(key, parsed)
    return parsed
  }

  set(key: string, value: V): void {
    // A key of another type would be a string after a restart, and would not be found.
    if (typeof key !== 'string') throw new TypeError(`a key of state must be a string, got a ${typeof key}`)
    if (this.checked) {
      const problem = jsonProblem(value)
      if (problem !== undefined) throw new DataError(`the step keeps a value that is not JSON in its state: ${problem}`)
    }
    if (this.restored !== undefined) this.forget(key)
    this.map.set(key, value)
    this.dirty.add(key)
  }

  delete(key: string): void {
    const restored = this.restored !== undefined && this.forget(key)
    if (this.map.delete(key) || restored) this.dirty.add(key)
  }

  clear(): void {
    for (const key of this.restored?.keys() ?? []) this.delete(key)
    for (const key of this.map.keys()) this.delete(key)
  }

  /** Restored entries come first, in their order. */
  entries(): IterableIterator<[string, V]> {
    return this.restored === undefined ? this.map.entries() : this.all(this.restored)
  }

  get size(): number {
    return this.map.size + (this.restored?.size ?? 0)
  }

  private *all(restored: Map<string, string>): IterableIterator<[string, V]> {
    for (const [key, json] of restored) yield [key, parseJson(json) as V]
    yield* this.map.entries()
  }

  private forget(key: string): boolean {
    const was = this.restored!.delete(key)
    if (this.restored!.size === 0) this.restored = undefined
    return was
  }
}

export class LaneState {
  private readonly stores = new Map<string, Store<Json>>()
  private pending: CheckpointDelta['state']

  /** @param pending changes that are added to the first changes */
  constructor(checkpoint?: Checkpoint, pending: CheckpointDelta['state'] = []) {
    this.pending = pending
    if (checkpoint) for (const [store, entries] of keptOf(checkpoint).stores) this.store(store).restore(entries)
  }

  /** Opens a store with its content from the checkpoint. */
  open<V extends Json>(name: string, checked = false): State<V> {
    const store = this.store(name)
    store.checked = checked
    return store as unknown as State<V>
  }

  /** All changes since the last call, encoded now, so that later changes are not included. */
  takeChanges(): CheckpointDelta['state'] {
    const changes = [...this.pending]
    this.pending = []
    for (const [name, store] of this.stores) {
      for (const key of store.dirty) {
        const value = store.map.get(key)
        const json = value === undefined ? null : encoded(name, key, value)
        if (json !== null) store.weigh(key, json)
        changes.push([name, key, json])
      }
      store.dirty.clear()
    }
    return changes
  }

  /** Deletes all entries; the next changes contain the deletions. */
  clear(): void {
    for (const store of this.stores.values()) store.clear()
  }

  /** Number of keys in all stores. */
  get size(): number {
    let n = 0
    for (const store of this.stores.values()) n += store.size
    return n
  }

  /** Estimated memory by store, bytes. */
  *bytes(): Generator<readonly [store: string, bytes: number, keys: number]> {
    for (const [name, store] of this.stores) yield [name, store.bytes, store.size]
  }

  get opened(): boolean {
    return this.stores.size > 0
  }

  private store(name: string): Store<Json> {
    let store = this.stores.get(name)
    if (!store) this.stores.set(name, (store = new Store()))
    return store
  }
}

function encoded(store: string, key: string, value: Json): string {
  try {
    return encodeJson(value)
  } catch (error) {
    throw new DataError(`state ${store}, key ${JSON.stringify(key).slice(0, 100)}: ${(error as Error).message}`, error)
  }
}
