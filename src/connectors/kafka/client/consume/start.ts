/**
 * Where to read from when nobody has said, and when what was said does not exist.
 * The answers take a while: whoever seeks meanwhile wins.
 */
import { UnknownOutcomeError } from '../../../../contract/plugin.ts'
import { type ConsumerOptions, tpKey } from '../../driver.ts'
import { committedOffsets, listOffsets } from '../topics-and-offsets.ts'
import type { Cluster } from '../cluster.ts'
import { toPipelineError } from '../errors.ts'
import { Backoff } from '../wait.ts'
import type { PartitionState } from './partition.ts'

export type StartOptions = Pick<ConsumerOptions, 'group' | 'startAt' | 'isolation' | 'onError'>

export class StartPositions {
  private readonly cluster: Cluster
  private readonly options: StartOptions

  constructor(cluster: Cluster, options: StartOptions) {
    this.cluster = cluster
    this.options = options
  }

  /** For partitions that were given no offset: the committed one, else `startAt`. @throws {PipelineError} */
  async find(states: readonly PartitionState[]): Promise<void> {
    if (states.length === 0) return
    const epochs = states.map(s => s.epoch)
    const committed = await committedOffsets(
      this.cluster,
      this.options.group,
      states.map(s => s.tp),
    )
    const fresh = states.filter(s => !committed.has(tpKey(s.tp)))
    const first =
      fresh.length === 0
        ? new Map<string, number>()
        : await listOffsets(
            this.cluster,
            fresh.map(s => s.tp),
            this.options.startAt,
            this.options.isolation === 'read_committed',
          )
    states.forEach((state, i) => {
      if (state.epoch === epochs[i]) state.fetchFrom = committed.get(tpKey(state.tp))?.offset ?? first.get(tpKey(state.tp))
    })
  }

  /** Retention has passed us by, or the topic was made anew: the oldest record there is loses least. Tries until `signal` aborts. */
  async oldest(state: PartitionState, signal: AbortSignal): Promise<void> {
    const from = state.fetchFrom
    state.seek(undefined)
    const { epoch } = state
    const backoff = new Backoff(200, 5000)
    while (!signal.aborted && state.epoch === epoch) {
      try {
        const key = tpKey(state.tp)
        const earliest = (await listOffsets(this.cluster, [state.tp], 'earliest', false)).get(key)!
        if (state.epoch !== epoch) return
        const lost =
          from !== undefined && from < earliest ? `; ${earliest - from} records were deleted by retention before they were read` : ''
        this.options.onError(new UnknownOutcomeError(`offset ${from} of ${key} does not exist; reading on from ${earliest}${lost}`))
        state.fetchFrom = earliest
        return
      } catch (error) {
        this.options.onError(toPipelineError(error, 'look up offsets'))
        await backoff.wait(signal)
      }
    }
  }
}
