/**
 * The owner of a key. Redis does not record who created a key, so the sink stores a note beside the key before the first write. A key that
 * exists without the note was created by another program, and is not written to.
 */
import { ask, type Driver, text } from './driver.ts'

/** Maximum number of keys remembered as owned; names may come from messages. */
const MAX_KNOWN = 10_000

/** In the slot of the key. */
export const noteOf = (key: string): string => (/\{[^}]+\}/.test(key) ? `${key}:made-by` : `{${key}}:made-by`)

/** @returns the problem and its fix; undefined: the key is ours, or does not exist. Changes nothing. */
export async function foreign(driver: Driver, key: string, owner: string): Promise<{ detail: string; fix: string } | undefined> {
  const note = noteOf(key)
  const made = await ask(driver, ['GET', note])
  if (made !== null && text(made) === owner) return undefined
  if (text(await ask(driver, ['TYPE', key])) === 'none') return undefined
  return {
    detail: made === null ? 'was created by another program' : `was created by pipeline ${text(made)}`,
    fix: `write to another key, delete it (redis-cli DEL '${key}'), or take it over: redis-cli SET '${note}' ${owner}`,
  }
}

export class KeyOwner {
  private readonly owner: string
  private readonly known = new Set<string>()

  constructor(owner: string) {
    this.owner = owner
  }

  /** Called before the first write to a key. @returns why the key is not written to; undefined: it is ours. */
  async claim(driver: Driver, key: string): Promise<string | undefined> {
    if (this.known.has(key)) return undefined
    const problem = await foreign(driver, key, this.owner)
    if (problem) return `key ${key} ${problem.detail}, and on_foreign_key does not allow this: ${problem.fix}`
    await ask(driver, ['SET', noteOf(key), this.owner])
    if (this.known.size >= MAX_KNOWN) this.known.clear()
    this.known.add(key)
    return undefined
  }
}
