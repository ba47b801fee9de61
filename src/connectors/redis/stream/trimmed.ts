/**
 * Detects entries that were trimmed (`MAXLEN`, `MINID`) or deleted before the group read them. A group is not notified of them: it
 * continues with the oldest entry that exists. From version 7 on, the server counts the entries added and the entries that the group read;
 * the difference reveals the loss.
 */
import type { Gap } from '../../../contract/plugin.ts'
import { type Reply, ReplyError, type Session, text } from '../driver.ts'

export class TrimmedEntries {
  private readonly key: string
  private readonly group: string
  /** Number of entries missing at the last check. */
  private known = 0
  private readonly say: (why: string) => void
  /** The server does not report the counts. */
  private blind = false

  /** @param say called once with the reason when detection is impossible */
  constructor(key: string, group: string, say: (why: string) => void) {
    this.key = key
    this.group = group
    this.say = say
  }

  /** The state may have been restored to a time before the last check. */
  forget(): void {
    this.known = 0
  }

  /** Call before entries are read: afterwards the server counts as if the group had read them. */
  async look(session: Session): Promise<Gap | undefined> {
    if (this.blind) return undefined
    const replies = await session.run([
      ['XINFO', 'GROUPS', this.key],
      ['XINFO', 'STREAM', this.key],
    ])
    const rejected = replies.find(reply => reply instanceof ReplyError)
    if (rejected) {
      // The read creates a missing key again.
      if (!/no such key/i.test(rejected.message)) this.giveUp(rejected.message)
      return undefined
    }
    const group = (replies[0] as Reply[]).map(fieldsOf).find(g => text(g.get('name')) === this.group)
    const stream = fieldsOf(replies[1] as Reply)
    if (group && !stream.has('entries-added')) this.giveUp('the server does not count the entries of a stream (before version 7)')
    const [read, added, length] = [group?.get('entries-read'), stream.get('entries-added'), stream.get('length')]
    if (typeof read !== 'number' || typeof added !== 'number' || typeof length !== 'number') return undefined
    const lacking = isBehind(text(group!.get('last-delivered-id')), text(stream.get('recorded-first-entry-id')), length)
      ? Math.max(0, added - length - read)
      : 0
    const lost = lacking - this.known
    this.known = lacking
    if (lost <= 0) return undefined
    return { lost, reason: `${lost} entries of stream ${this.key} were trimmed or deleted before group ${this.group} had read them` }
  }

  private giveUp(why: string): void {
    this.blind = true
    this.say(why)
  }
}

/** @returns whether no entry that the group has read exists any more. */
function isBehind(read: string, first: string, length: number): boolean {
  if (length === 0) return true
  const [a, b] = [read, first].map(id => id.split('-').map(Number))
  return b[0] > a[0] || (b[0] === a[0] && b[1] > a[1])
}

function fieldsOf(reply: Reply): Map<string, Reply> {
  const list = reply as Reply[]
  const fields = new Map<string, Reply>()
  for (let i = 0; i + 1 < list.length; i += 2) fields.set(text(list[i]), list[i + 1])
  return fields
}
