/** The dead letters that a command selects. */
import { keyTextOf } from '../contract/plugin.ts'
import { type DeadLetter, failureTime } from '../kit/dead-letter/read.ts'

export interface Selection {
  /** `<partition>/<offset>`; empty: all that match the filters. */
  readonly ids: readonly string[]
  readonly step?: readonly string[]
  readonly errorType?: readonly string[]
  readonly key?: string
  /** Text in the payload or in the error message. */
  readonly contains?: string
  /** Epoch ms, by the time of the failure; `until` is exclusive. */
  readonly since?: number
  readonly until?: number
  /** Undefined: any pipeline. Records without a pipeline name always match: otherwise no selection would show them. */
  readonly pipeline?: string
}

export function selector(s: Selection): (letter: DeadLetter) => boolean {
  const ids = new Set(s.ids)
  return letter => {
    const { failure } = letter
    if (s.pipeline !== undefined && failure && failure.pipeline !== s.pipeline) return false
    if (ids.size > 0 && !ids.has(letter.id)) return false
    if (s.step && !s.step.includes(failure?.step ?? '')) return false
    if (s.errorType && !s.errorType.includes(failure?.errorType ?? '')) return false
    if (s.key !== undefined && (letter.key && keyTextOf(letter.key)) !== s.key && failure?.stepKey !== s.key) return false
    if (s.since !== undefined && failureTime(letter) < s.since) return false
    if (s.until !== undefined && failureTime(letter) >= s.until) return false
    return s.contains === undefined || letter.payload?.includes(s.contains) === true || failure?.message.includes(s.contains) === true
  }
}

/** Whether a filter other than `pipeline` is set. */
export const isNarrow = ({ ids, step, errorType, key, contains, since, until }: Selection): boolean =>
  ids.length > 0 || [step, errorType, key, contains, since, until].some(x => x !== undefined)
