/** Numbered records, and what became of them: the same questions for every sink. */
import { createHash } from 'node:crypto'

export interface Numbered {
  readonly id: number
  readonly key: string
  /** 1, 2, 3… of its key. */
  readonly n: number
  readonly sum: string
}

/** One record as another client finds it in the sink; `text` is its JSON. */
export interface Seen {
  readonly text: string
  /** The key beside the value: of a Kafka record, an HTTP request… Of two records with one id it must be equal. */
  readonly key: string
}

export interface Verdict {
  /** Missing, and left out by the promise of the pair. */
  missed?: number
  lost: number
  doubled: number
  disordered: number
  wrong: number
}

export const KEYS = 16

const sum = (id: number, key: string, n: number): string => createHash('sha256').update(`${id}|${key}|${n}`).digest('hex').slice(0, 12)

export class Numbers {
  readonly made: Numbered[] = []
  private readonly counts = new Map<string, number>()

  /** Keys take turns. */
  next(count: number): Numbered[] {
    const records: Numbered[] = []
    for (let i = 0; i < count; i++) {
      const id = this.made.length
      const key = `k${id % KEYS}`
      const n = (this.counts.get(key) ?? 0) + 1
      this.counts.set(key, n)
      const record = { id, key, n, sum: sum(id, key, n) }
      this.made.push(record)
      records.push(record)
    }
    return records
  }
}

const parse = (text: string): Numbered | undefined => {
  try {
    const { id, key, n, sum: found } = JSON.parse(text) as Numbered
    const record = { id: Number(id), key, n: Number(n), sum: found }
    return sum(record.id, key, record.n) === found ? record : undefined
  } catch {
    return undefined
  }
}

/**
 * A log keeps every write. Of each key the first sight of each record counts for the order.
 * @param fed copies of each record in the input beyond the first: what feeds may repeat itself when a server is restarted
 */
export function judgeLog(made: readonly Numbered[], seen: readonly Seen[], fed: ReadonlyMap<number, number>): Verdict {
  const allowed = new Map(fed)
  const verdict = { lost: 0, doubled: 0, disordered: 0, wrong: 0 }
  const first = new Map<number, Seen>()
  const last = new Map<string, number>()
  for (const one of seen) {
    const record = parse(one.text)
    if (!record || made[record.id]?.key !== record.key) {
      verdict.wrong++
      continue
    }
    const before = first.get(record.id)
    if (before) {
      const left = allowed.get(record.id) ?? 0
      if (left > 0) allowed.set(record.id, left - 1)
      else verdict.doubled++
      if (before.text !== one.text || before.key !== one.key) verdict.wrong++
      continue
    }
    first.set(record.id, one)
    if (record.n < (last.get(record.key) ?? 0)) verdict.disordered++
    else last.set(record.key, record.n)
  }
  verdict.lost = made.length - first.size
  return verdict
}

/** Copies beyond the first, by record. */
export function copies(texts: readonly string[]): Map<number, number> {
  const found = new Map<number, number>()
  const seen = new Set<number>()
  for (const text of texts) {
    const { id } = JSON.parse(text) as Numbered
    if (seen.has(id)) found.set(id, (found.get(id) ?? 0) + 1)
    else seen.add(id)
  }
  return found
}

/** A value per key keeps the last write: it must be the newest record of its key. */
export function judgeLatest(made: readonly Numbered[], seen: readonly Seen[]): Verdict {
  const verdict = { lost: 0, doubled: 0, disordered: 0, wrong: 0 }
  const found = new Map<string, Numbered>()
  for (const one of seen) {
    const record = parse(one.text)
    if (!record || record.key !== one.key) verdict.wrong++
    else found.set(record.key, record)
  }
  for (const newest of new Map(made.map(r => [r.key, r])).values()) {
    const there = found.get(newest.key)
    if (!there) verdict.lost++
    else if (there.n < newest.n) verdict.disordered++
  }
  return verdict
}
