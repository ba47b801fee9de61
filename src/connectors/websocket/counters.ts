/** The counters of the source, created at the start so that a graph shows 0 instead of a gap. */
import type { Counter, SourceContext } from '../../contract/plugin.ts'

export type GapReason = 'sequence' | 'reconnect' | 'refused' | 'dropped' | 'checksum'
export type ReconnectReason = 'closed' | 'error' | 'stale' | 'ping_timeout' | 'gap' | 'too_large' | 'buffer_full'
export type DropReason = 'control' | 'pong' | 'superseded' | 'keepalive'
export type SnapshotResult = 'ok' | 'old' | 'error'

export interface Counters {
  readonly messages: Counter
  readonly bytes: Counter
  readonly duplicates: Counter
  readonly stale: Counter
  gap(reason: GapReason): void
  reconnect(reason: ReconnectReason): void
  drop(reason: DropReason, n?: number): void
  snapshot(result: SnapshotResult): void
  rejected(): void
}

export function countersOf({ metrics, pipeline, step }: SourceContext): Counters {
  const own = { pipeline, step }
  const plain = (name: string, help: string): Counter => metrics.counter(`websocket_${name}_total`, help, own)
  const by = <T extends string>(name: string, help: string, label: string, values: readonly T[]): ((value: T, n?: number) => void) => {
    const children = Object.fromEntries(values.map(v => [v, metrics.counter(`websocket_${name}_total`, help, { ...own, [label]: v })]))
    return (value, n = 1) => children[value].inc(n)
  }
  const rejected = plain('refused', 'Messages that a step or a sink rejected permanently.')
  return {
    messages: plain('messages', 'Messages received, control messages included.'),
    bytes: plain('bytes', 'Bytes of the messages received.'),
    duplicates: plain('duplicates', 'Messages dropped because their sequence number had already been seen.'),
    stale: plain('stale', 'Number of times that the feed was silent for stale_after.'),
    gap: by('gaps', 'Number of gaps in streams.', 'reason', ['sequence', 'reconnect', 'refused', 'dropped', 'checksum']),
    reconnect: by('reconnects', 'Connections closed because of a problem, or lost.', 'reason', [
      'closed',
      'error',
      'stale',
      'ping_timeout',
      'gap',
      'too_large',
      'buffer_full',
    ]),
    drop: by('dropped', 'Messages not passed on because they are not data or are covered by a snapshot.', 'reason', [
      'control',
      'pong',
      'superseded',
      'keepalive',
    ]),
    snapshot: by('snapshots', 'Snapshots after a gap: used (ok), older than the buffered messages (old), or failed (error).', 'result', [
      'ok',
      'old',
      'error',
    ]),
    rejected: () => rejected.inc(),
  }
}
