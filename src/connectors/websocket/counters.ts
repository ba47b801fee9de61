/** The source's counters, all there from the start so that a graph shows 0 and not a hole. */
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
  const rejected = plain('refused', 'Messages that a step or a sink refused for good.')
  return {
    messages: plain('messages', 'Messages received, control messages included.'),
    bytes: plain('bytes', 'Bytes of the messages received.'),
    duplicates: plain('duplicates', 'Messages dropped because their sequence number had been seen.'),
    stale: plain('stale', 'Times the feed went silent for stale_after.'),
    gap: by('gaps', 'Times messages of a stream went missing.', 'reason', ['sequence', 'reconnect', 'refused', 'dropped', 'checksum']),
    reconnect: by('reconnects', 'Connections given up or lost.', 'reason', [
      'closed',
      'error',
      'stale',
      'ping_timeout',
      'gap',
      'too_large',
      'buffer_full',
    ]),
    drop: by('dropped', 'Messages not passed on: no data, or covered by a snapshot.', 'reason', [
      'control',
      'pong',
      'superseded',
      'keepalive',
    ]),
    snapshot: by('snapshots', 'Snapshots after a gap: taken, older than the messages at hand, or failed.', 'result', [
      'ok',
      'old',
      'error',
    ]),
    rejected: () => rejected.inc(),
  }
}
