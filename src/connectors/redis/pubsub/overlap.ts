/** Overlapping patterns: Redis sends a message once for each pattern that matches its channel. */
import { Glob } from '../glob.ts'

/** Above this number, channels are kept in two halves, and the older half is removed. */
const MAX_CHANNELS = 50_000

/**
 * Decides which pattern's copy of a channel's messages is used: the pattern that came first. All patterns that match a channel match all
 * its messages, so each message has exactly one copy from that pattern, and the copies of a message follow each other directly.
 */
export class Overlap {
  private readonly matchers: readonly { readonly pattern: string; readonly glob: Glob }[]
  private readonly several: boolean
  private fresh = new Map<string, string>()
  private old = new Map<string, string>()

  constructor(patterns: readonly string[]) {
    this.several = patterns.length > 1
    this.matchers = patterns.map(pattern => ({ pattern, glob: new Glob(pattern) }))
  }

  takes(channel: Buffer, pattern: string): boolean {
    if (!this.several) return true
    const name = channel.toString('latin1')
    let taken = this.fresh.get(name)
    if (taken === undefined) {
      // The entry that was just looked up is never removed next.
      taken = this.old.get(name) ?? pattern
      if (this.fresh.size >= MAX_CHANNELS) {
        this.old = this.fresh
        this.fresh = new Map()
      }
      this.fresh.set(name, taken)
    }
    return taken === pattern
  }

  /** The first matching pattern in the config, whichever copy was used: keys do not depend on the server's order. */
  first(channel: string, pattern: string): string {
    if (!this.several) return pattern
    return this.matchers.find(m => m.glob.test(channel))?.pattern ?? pattern
  }
}
