/** Messages from the decoding process to the watching one, and the limits of both. */
export interface Report {
  /** Inputs tried. */
  readonly runs: number
  /** Different outcomes. */
  readonly outcomes: number
  /** The last input must not do this. */
  readonly failure?: string
  /** The process has grown too large; whether the last input alone does it is not known yet. */
  readonly memory?: boolean
}

/** More than this, seconds of CPU time, is a hang. */
export const SLOW = 1
/** An input that has not ended after so long, seconds of the wall clock, does not end. */
export const STUCK = 30
/** Most resident memory of the process, bytes. */
export const MAX_RSS = 700e6
/** Heap of the process, MB. */
export const HEAP = 400
