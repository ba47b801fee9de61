/** The assignment of partitions: balanced, and members keep their partitions as far as balance allows. */

export interface Member {
  readonly id: string
  readonly topics: ReadonlySet<string>
}

export interface Holding {
  readonly part: number
  readonly topic: string
  /** The present or future owner. */
  readonly holder: string | null
}

/** @returns member by partition; partitions of topics without subscribers are left out. Deterministic. */
export function assign(members: readonly Member[], holdings: readonly Holding[]): Map<number, string> {
  const result = new Map<number, string>()
  const byId = members.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const load = new Map(byId.map(m => [m.id, 0]))
  const wants = (topic: string) => byId.filter(m => m.topics.has(topic))
  const least = (candidates: readonly Member[]) => candidates.reduce((a, b) => (load.get(b.id)! < load.get(a.id)! ? b : a))
  const give = (part: number, to: string) => {
    const from = result.get(part)
    if (from !== undefined) load.set(from, load.get(from)! - 1)
    result.set(part, to)
    load.set(to, load.get(to)! + 1)
  }

  const sorted = holdings.toSorted((a, b) => a.part - b.part)
  for (const { part, topic, holder } of sorted) if (wants(topic).some(m => m.id === holder)) give(part, holder!)
  for (const { part, topic } of sorted) {
    const candidates = wants(topic)
    if (!result.has(part) && candidates.length > 0) give(part, least(candidates).id)
  }
  // Move single partitions from the fullest to the emptiest until no move helps; each one lowers the sum of squares, so this ends.
  for (let moved = true; moved; ) {
    moved = false
    for (const { part, topic } of sorted) {
      const holder = result.get(part)
      if (holder === undefined) continue
      const to = least(wants(topic))
      if (load.get(holder)! - load.get(to.id)! >= 2) {
        give(part, to.id)
        moved = true
      }
    }
  }
  return result
}
