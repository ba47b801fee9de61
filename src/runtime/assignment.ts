/** The lanes of a running pipeline: made when a source is assigned them, drained before it gives them up, forgotten when it has lost them. */
import type { Context, LaneInfo, Logger, Position, SourceContext } from '../contract/plugin.ts'
import type { Built, BuiltSource } from './build.ts'
import type { Clock } from '../kit/clock.ts'
import { Lane } from './lane.ts'
import type { LaneHost } from './lane-host.ts'

/** Source bytes that the cycles being filled may hold; those being written hold up to as much again. */
const HELD_BYTES = 16 * 1024 * 1024

export interface AssignmentHost {
  readonly built: Built
  readonly clock: Clock
  readonly log: Logger
  readonly random: () => number
  /** Aborted when nothing more is to be written. */
  readonly signal: AbortSignal
  /** Aborted when nothing more is to be read. */
  readonly stopping: AbortSignal
  /** Tries again while a peer is away, until the run ends. */
  retrying<T>(fn: () => Promise<T>): Promise<T>
  fatal(error: Error): void
}

export class Assignment {
  readonly lanes = new Map<string, Lane>()
  private readonly host: AssignmentHost

  constructor(host: AssignmentHost) {
    this.host = host
  }

  /** What a source tells of its lanes. */
  contextFor(entry: BuiltSource): Omit<SourceContext, keyof Context> {
    return {
      range: entry.range,
      assign: lanes => this.assign(entry, lanes),
      revoke: ids => this.revoke(ids),
      lose: ids => {
        for (const id of ids) {
          this.lanes.get(id)?.abandon()
          this.forget(id)
        }
      },
    }
  }

  private async assign(entry: BuiltSource, infos: readonly LaneInfo[]): Promise<Map<string, Position | undefined>> {
    const positions = new Map<string, Position | undefined>()
    await Promise.all(
      infos.map(async info => {
        this.lanes.get(info.id)?.drop()
        const lane = new Lane(info, this.hostOf(entry))
        this.lanes.set(info.id, lane)
        positions.set(info.id, await this.host.retrying(() => lane.open()))
      }),
    )
    return positions
  }

  private async revoke(ids: readonly string[]): Promise<void> {
    const lanes = ids.map(id => this.lanes.get(id)).filter(l => l !== undefined)
    const budget = new Promise<void>(resolve => this.host.clock.after(this.host.built.pipeline.shutdown_timeout / 3, resolve))
    await Promise.all(
      lanes.map(async lane => {
        await Promise.race([lane.drain(), budget])
        await lane.release()
        if (this.lanes.get(lane.info.id) === lane) this.forget(lane.info.id)
      }),
    )
  }

  private forget(id: string): void {
    this.lanes.delete(id)
    this.host.built.meters.forgetLane(id)
  }

  private hostOf({ source, committer, inlet }: BuiltSource): LaneHost {
    const { built, clock, log, random, signal, stopping } = this.host
    const { pipeline } = built
    return {
      pipeline: pipeline.name,
      clock,
      committer,
      source,
      router: built.router,
      writers: built.writers,
      dlq: built.dlq,
      dropsDead: pipeline.drops_dead === true,
      log,
      signal,
      stopping,
      bounds: built.bounds,
      commitInterval: source.commitImmediately ? 0 : pipeline.commit_interval,
      maxInFlight: pipeline.max_in_flight,
      maxBytes: () => HELD_BYTES / Math.max(1, this.lanes.size),
      backoff: pipeline.retry,
      random,
      stages: (lane, state) => built.stages(lane, state),
      inlet,
      fatal: error => this.host.fatal(error),
    }
  }
}
