/** The lanes of a running pipeline: created when a source claims them, drained before it revokes them, dropped when it loses them. */
import type { Context, LaneInfo, LaneOrigin, Position, SourceContext } from '../contract/plugin.ts'
import type { BuiltSource } from './build.ts'
import { Lane, type LaneRun } from './lane.ts'

/** Maximum source bytes of all commit batches that are being filled. Batches that are being written can hold as much again. */
const HELD_BYTES = 16 * 1024 * 1024

/** `LaneRun`, and what only the assignment needs. */
export interface AssignmentHost extends Omit<LaneRun, 'maxBytes'> {
  /** Retries while a peer is unreachable, until the run ends. */
  retrying<T>(step: string, fn: () => Promise<T>): Promise<T>
}

export class Assignment {
  readonly lanes = new Map<string, Lane>()
  private readonly host: AssignmentHost
  private readonly run: LaneRun

  constructor(host: AssignmentHost) {
    this.host = host
    this.run = { ...host, maxBytes: () => HELD_BYTES / Math.max(1, this.lanes.size) }
  }

  /** The part of the source context that claims, revokes and loses lanes. */
  contextFor(entry: BuiltSource): Omit<SourceContext, keyof Context> {
    return {
      range: entry.range,
      assign: (lanes, originOf) => this.assign(entry, lanes, originOf),
      revoke: ids => this.revoke(ids),
      lose: ids => {
        for (const id of ids) {
          this.lanes.get(id)?.abandon()
          this.forget(id)
        }
      },
    }
  }

  private async assign(
    entry: BuiltSource,
    infos: readonly LaneInfo[],
    originOf?: (lane: LaneInfo) => Promise<LaneOrigin>,
  ): Promise<Map<string, Position | undefined>> {
    const positions = new Map<string, Position | undefined>()
    await Promise.all(
      infos.map(async info => {
        this.lanes.get(info.id)?.drop()
        const lane = new Lane(info, entry, this.run, originOf)
        this.lanes.set(info.id, lane)
        positions.set(info.id, await this.host.retrying(entry.step.name, () => lane.open()))
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
}
