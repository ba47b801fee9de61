/** Redis globs: `*`, `?`, `[a-c]`, `[^a]`, and a backslash before a literal character. */

/** `undefined`: any text. */
type Step = ((unit: number) => boolean) | undefined

/** The time is proportional to pattern times text; a regular expression with many `.*` has no such bound. */
export class Glob {
  private readonly steps: readonly Step[]

  constructor(pattern: string) {
    this.steps = parse(pattern)
  }

  /** After a mismatch only the last `*` needs to match one more character: the last one can match anything that an earlier one did not. */
  test(text: string): boolean {
    const { steps } = this
    let at = 0
    let star = -1
    let from = 0
    for (let i = 0; i < text.length; ) {
      const step = steps[at]
      if (at < steps.length && step === undefined) {
        star = at++
        from = i
      } else if (step?.(text.charCodeAt(i))) {
        at++
        i++
      } else if (star >= 0) {
        at = star + 1
        i = ++from
      } else return false
    }
    while (at < steps.length && steps[at] === undefined) at++
    return at === steps.length
  }
}

function parse(pattern: string): Step[] {
  const steps: Step[] = []
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]
    if (c === '*') steps.push(undefined)
    else if (c === '?') steps.push(() => true)
    else if (c === '[' && pattern.indexOf(']', i + 2) !== -1) {
      const end = pattern.indexOf(']', i + 2)
      steps.push(oneOf(pattern.slice(i + 1, end)))
      i = end
    } else {
      const unit = (c === '\\' && i + 1 < pattern.length ? pattern[++i] : c).charCodeAt(0)
      steps.push(given => given === unit)
    }
  }
  return steps
}

function oneOf(inside: string): NonNullable<Step> {
  const negated = inside.startsWith('^')
  const set = negated ? inside.slice(1) : inside
  const ranges: [number, number][] = []
  for (let i = 0; i < set.length; i++) {
    const range = set[i + 1] === '-' && i + 2 < set.length
    const ends = [set.charCodeAt(i), set.charCodeAt(range ? i + 2 : i)]
    ranges.push([Math.min(...ends), Math.max(...ends)])
    if (range) i += 2
  }
  return unit => ranges.some(([a, b]) => unit >= a && unit <= b) !== negated
}
