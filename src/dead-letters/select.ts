/** Which dead letters a command means. */
import { type Letter, diedAt } from '../kit/dead-letter/letter.ts'

export interface Selection {
  /** `<partition>/<offset>`; empty: whatever the filters let through. */
  readonly ids: readonly string[]
  readonly step?: readonly string[]
  readonly errorType?: readonly string[]
  readonly key?: string
  /** Text in the payload or in the error message. */
  readonly contains?: string
  /** Epoch ms, by the time of death; `until` is exclusive. */
  readonly since?: number
  readonly until?: number
  /** Undefined: of any pipeline. */
  readonly pipeline?: string
}

export function selector(s: Selection): (letter: Letter) => boolean {
  const ids = new Set(s.ids)
  return letter => {
    const { death } = letter
    if (s.pipeline !== undefined && death?.pipeline !== s.pipeline) return false
    if (ids.size > 0 && !ids.has(letter.id)) return false
    if (s.step && !s.step.includes(death?.step ?? '')) return false
    if (s.errorType && !s.errorType.includes(death?.errorType ?? '')) return false
    if (s.key !== undefined && letter.key?.toString() !== s.key && death?.stepKey !== s.key) return false
    if (s.since !== undefined && diedAt(letter) < s.since) return false
    if (s.until !== undefined && diedAt(letter) >= s.until) return false
    return s.contains === undefined || letter.payload?.includes(s.contains) === true || death?.message.includes(s.contains) === true
  }
}

/** Does it leave out anything that is not done? */
export const isNarrow = ({ ids, step, errorType, key, contains, since, until }: Selection): boolean =>
  ids.length > 0 || [step, errorType, key, contains, since, until].some(x => x !== undefined)
