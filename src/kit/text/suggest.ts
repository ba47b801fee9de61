/** "Did you mean": the candidate that is closest to the text. */

/** Optimal string alignment distance: insert, delete, replace, swap of neighbors. */
export function distance(a: string, b: string): number {
  let before: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let best = Math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, before[j - 2] + 1)
      row.push(best)
    }
    before = previous
    previous = row
  }
  return previous[b.length]
}

const fold = (s: string): string => s.toLowerCase().replaceAll(/[_\-. ]/g, '')

/** The closest candidate, undefined when none is close. Earlier candidates win ties, so put the more likely ones first. */
export function suggest(written: string, candidates: Iterable<string>): string | undefined {
  // Longer than any key, so none was meant, and the distance would take quadratic time.
  if (written.length > 100) return undefined
  const folded = fold(written)
  let best: string | undefined
  let bestScore = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    if (candidate === written || candidate.length > 100) continue
    const target = fold(candidate)
    let score = distance(folded, target)
    const longest = Math.max(folded.length, target.length)
    // `lateness` for `allowed_lateness`, `topics` for `topic`: one contains the other as a whole.
    if (folded.length >= 3 && target.length >= 3 && (target.includes(folded) || folded.includes(target))) score = Math.min(score, 2)
    const limit = longest <= 2 ? 0 : longest <= 4 ? 1 : Math.max(2, Math.floor(longest / 3))
    if (score <= limit && score < bestScore) {
      best = candidate
      bestScore = score
    }
  }
  return best
}
