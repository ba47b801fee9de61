import type { Dataset } from '../lib/dataset.ts'
import type { Command } from '../lib/measure.ts'

/** `digits` is `map` over ticks whose numbers no double holds. */
export type Task = 'bars' | 'map' | 'digits'

/** Where one run of a contender works: everything is new to it. */
export interface BenchRun {
  brokers: string
  input: string
  output: string
  /** For groups, application ids and the like. */
  id: string
  /** A temporary directory. */
  dir: string
}

export interface Contender {
  /** What `--only` selects by. */
  family: 'ours' | 'streams' | 'quix' | 'kafkajs' | 'kcat'
  name: string
  task: Task
  /** `ceiling`: not a stream processor, but what the machine and the client allow. */
  kind: 'ours' | 'peer' | 'ceiling'
  /** `embedded`: input and output are topics of a SQLite log in the run's directory. */
  log?: 'embedded'
  /** Bars must be the expected bytes; default: the same numbers up to double rounding. */
  exact?: boolean
  /** Records it writes when that is not one per bar or per tick; then only their number is checked. */
  records?: number
  /** Builds or installs what it needs, once. @throws {Error} when this machine can't run it. */
  prepare?(data: Dataset): Promise<void>
  command(place: BenchRun): Command
}
