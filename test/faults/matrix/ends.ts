/** What a source and a sink of the matrix are: how each is written in YAML, fed, and read. */
import type { Backend } from '../../e2e/lib/backend.ts'
import type { Runner } from '../../support/runner.ts'
import type { PeerName, Peers } from './peers.ts'
import type { Numbered, Seen } from './records.ts'

export interface Place {
  readonly peers: Peers
  /** The runner's directory. */
  readonly cwd: string
  /** The pipeline's and the group's name; also part of topics, tables, keys. */
  readonly name: string
  readonly backends: Map<string, Backend>
  /** One for both ends. */
  database?: Promise<{ dsn: string; through: string }>
}

/** One end of an open pair: its YAML, with the variables that it needs. */
interface End {
  readonly yaml: string
  readonly env?: Record<string, string>
  /** Records that the promise of this end leaves out, of those that are missing. */
  missed?(made: readonly Numbered[], seen: readonly Seen[]): Set<number>
  close?(): Promise<void>
}

export interface OpenSource extends End {
  /** Steps that give records what the source does not. */
  readonly steps?: string
  /** In order; resolves when the records are safe, or on their way if the source cannot be read again. */
  write(records: readonly Numbered[]): Promise<void>
  /** Absent: the source has no pair with steps. */
  put?(written: readonly Written[]): Promise<void>
  /** What is in the source, by another client. */
  fed?(): Promise<string[]>
  /** It reads what this process gets. */
  attach?(runner: Runner): void
}

export interface OpenSink extends End {
  read(): Promise<Seen[]>
}

export interface Written {
  readonly key: string
  readonly value: object
}

export interface Source {
  readonly peer?: PeerName
  /** Several processes can share it. */
  readonly shared: boolean
  /** It goes on while its peer is away: that is missed. */
  readonly goesOn?: boolean
  open(place: Place): Promise<OpenSource>
}

export interface Sink {
  readonly peer?: PeerName
  /** Another server that it needs. */
  readonly also?: PeerName
  readonly latest?: boolean
  /** It can't show a second write of the same record. */
  readonly upserts?: boolean
  /** Only one process can have it. */
  readonly single?: boolean
  /** Records in each piece of the feed. */
  readonly rate?: number
  open(place: Place): Promise<OpenSink>
}
