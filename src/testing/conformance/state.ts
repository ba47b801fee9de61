/** State of a lane without a runtime. */
import { encodeJson, type Json, parseJson, type State } from '../../contract/plugin.ts'

/** store -> key -> JSON text, as in a checkpoint. */
export type Durable = Map<string, Map<string, string>>

/** Live values of the plugin; a checkpoint stores only the changes made with `set` and `delete`, as JSON. */
export class FakeStore implements State {
  readonly name: string
  private live: Map<string, Json>
  private dirty = new Set<string>()
  private durable: Durable

  constructor(name: string, durable: Durable) {
    this.name = name
    this.durable = durable
    // Reversed: a restored store has no guaranteed order.
    this.live = new Map([...(durable.get(name) ?? [])].toReversed().map(([k, v]) => [k, parseJson(v) as Json]))
  }

  get size() {
    return this.live.size
  }
  get(key: string) {
    return this.live.get(key)
  }
  set(key: string, value: Json) {
    this.live.set(key, value)
    this.dirty.add(key)
  }
  delete(key: string) {
    this.live.delete(key)
    this.dirty.add(key)
  }
  entries() {
    return this.live.entries()
  }

  save() {
    let saved = this.durable.get(this.name)
    if (!saved) this.durable.set(this.name, (saved = new Map()))
    for (const key of this.dirty) {
      const value = this.live.get(key)
      if (value === undefined) saved.delete(key)
      else saved.set(key, encodeJson(value))
    }
    this.dirty.clear()
  }
}
