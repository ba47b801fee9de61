/** The one recovery: back to the checkpoint. Forget, claim, restore, seek; again with back-off until it works or the lane is taken away. */
import { FencedError, type LaneInfo, type Position } from '../contract/plugin.ts'
import type { LaneHost } from './lane-host.ts'
import { backoff, pause } from '../kit/pause.ts'

/** How long a fenced lane waits to be taken away before it asserts that it still owns the partition. */
const FENCED_GRACE = 10_000

export interface Rewindable {
  /** Still to be rewound, and not taken away meanwhile. */
  rewinding(): boolean
  claim(): Promise<Position | undefined>
  /** The source reads from the checkpoint again. */
  resume(): void
  drop(): void
}

export class Rewinder {
  private readonly info: LaneInfo
  private readonly host: LaneHost
  private readonly lane: Rewindable
  /** Rewinds in a row without a batch accepted in between. */
  private attempts = 0
  private running: Promise<void> | undefined

  constructor(info: LaneInfo, host: LaneHost, lane: Rewindable) {
    this.info = info
    this.host = host
    this.lane = lane
  }

  /** The last rewind has got the lane further: the next one need not wait. */
  succeeded(): void {
    this.attempts = 0
  }

  /** Resolves when a rewind that is under way is done. */
  async done(): Promise<void> {
    await this.running
  }

  run(cause: Error): Promise<void> {
    this.running = this.loop(cause).finally(() => (this.running = undefined))
    return this.running
  }

  private async loop(first: Error): Promise<void> {
    const { host, info, lane } = this
    let cause = first
    while (lane.rewinding()) {
      await this.wait(cause)
      if (host.signal.aborted) return lane.drop()
      if (!lane.rewinding()) return
      try {
        const position = await lane.claim()
        if (!lane.rewinding()) return
        await host.source.seek!(info.id, position)
        lane.resume()
      } catch (error) {
        cause = error as Error
        if (!host.committer.retryable(cause)) return host.fatal(cause)
        host.log.warn({ lane: info.id, error: cause.message }, 'rewind failed, trying again')
      }
    }
  }

  /**
   * A zombie learns of its replacement by being fenced, before its group's next heartbeat tells it. It must not fence the new owner
   * in turn, so it first gives the group time to take the lane away.
   */
  private async wait(cause: Error): Promise<void> {
    const { clock, random } = this.host
    const growing = this.attempts++ === 0 ? 0 : backoff(this.host.backoff, this.attempts, random)
    const delay = cause instanceof FencedError ? FENCED_GRACE : growing
    if (delay > 0) await pause(clock, delay)
  }
}
