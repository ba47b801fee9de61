/**
 * Tells a source what is durable where the checkpoint decides anyway: for others to see, a group's lag say. Such a source names an
 * interval (`Source.hearsEvery`), and nothing waits for it; one that names none is told at once, and waited for.
 */
import { EnvironmentError, FencedError, type LaneInfo, type Logger, type Position, type Source } from '../contract/plugin.ts'

export class Teller {
  private readonly source: Source
  private readonly log: Logger | undefined
  /** Of lanes: what the source is to hear next. */
  private readonly news = new Map<string, Position>()
  private timer: NodeJS.Timeout | undefined

  constructor(source: Source, log: Logger | undefined) {
    this.source = source
    this.log = log
  }

  /** @throws {EnvironmentError} from a source that is told at once. */
  async tell(lane: LaneInfo, position: Position): Promise<void> {
    const { commitNotifyInterval } = this.source
    if (commitNotifyInterval === undefined) return tellSource(this.source, lane.id, position, this.log)
    this.news.set(lane.id, position)
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      for (const lane of this.news.keys()) void this.flush(lane)
    }, commitNotifyInterval)
  }

  /** What the source has not heard of the lane yet it hears now. Never throws. */
  async flush(lane: string): Promise<void> {
    const position = this.news.get(lane)
    if (position === undefined) return
    this.news.delete(lane)
    // A lane that went to somebody else in the meantime is no trouble.
    await this.source.commit?.(lane, position).catch((error: Error) => {
      if (!(error instanceof FencedError)) missed(lane, error, this.log)
    })
  }

  /** The lane begins anew: what was to be told is old. */
  forget(lane: string): void {
    this.news.delete(lane)
  }

  close(): void {
    clearTimeout(this.timer)
    this.news.clear()
  }
}

/** @throws {EnvironmentError} */
export async function tellSource(source: Source, lane: string, position: Position, log: Logger | undefined): Promise<void> {
  try {
    await source.commit?.(lane, position)
  } catch (error) {
    if (error instanceof EnvironmentError) throw error
    missed(lane, error as Error, log)
  }
}

/** The next commit covers this one; until then a crash only repeats records. */
function missed(lane: string, error: Error, log: Logger | undefined): void {
  log?.warn({ lane, error: error.message }, 'the source could not commit its position')
}
