import { timeLabel } from '../kit/text/time-label.ts'
import { utc } from './output.ts'

/** A time as people read it; `--since` and `--from` accept it. */
export const timeText = (ms: number, precision: 's' | 'ms' = 's'): string => timeLabel(ms, { utc: utc(), precision })
