/**
 * The start offset when none is committed, and when the committed one does not exist.
 * The responses take a while: a seek in the meantime takes precedence.
 */
import { StateError } from '../../../../contract/plugin.ts'
import { type ConsumerOptions, type TopicPartition, tpKey } from '../../driver.ts'
import { committedOffsets } from '../committed-offsets.ts'
import { listOffsets } from '../topics-and-offsets.ts'
import type { Cluster } from '../cluster.ts'
import type { PartitionState } from './partition.ts'

export type StartOptions = Pick<ConsumerOptions, 'group' | 'startAt' | 'isolation' | 'onLost'>

export class StartPositions {
  private readonly cluster: Cluster
  private readonly options: StartOptions
  /** The partitions of a topic when reading started. Later ones are read from their first record, whatever `start_at` is. */
  readonly counts = new Map<string, number>()

  constructor(cluster: Cluster, options: StartOptions) {
    this.cluster = cluster
    this.options = options
  }

  /**
   * For partitions that were given no offset: the committed one, else `startAt`. Where the committed one is of a topic that was deleted: the
   * first record.
   * @returns those
   * @throws {PipelineError}
   */
  async find(states: readonly PartitionState[]): Promise<string[]> {
    const { startAt, isolation, group } = this.options
    const remade: string[] = []
    await this.seekTo(states, async tps => {
      const offsets = new Map<string, number>()
      const committed = await committedOffsets(this.cluster, group, tps)
      for (const [key, { offset }] of committed.offsets) offsets.set(key, offset)
      remade.push(...committed.former)
      const fresh = tps.filter(tp => !offsets.has(tpKey(tp)))
      const startOf = (tp: TopicPartition) =>
        tp.partition < (this.counts.get(tp.topic) ?? Infinity) && !committed.former.has(tpKey(tp)) ? startAt : 'earliest'
      for (const [at, partitions] of Map.groupBy(fresh, startOf))
        for (const [key, offset] of await listOffsets(this.cluster, partitions, at, isolation === 'read_committed'))
          offsets.set(key, offset)
      return offsets
    })
    return remade
  }

  /**
   * For partitions of a recreated topic without a stored offset: their first record.
   * @throws {PipelineError}
   */
  async beginning(states: readonly PartitionState[]): Promise<void> {
    await this.seekTo(states, async tps => listOffsets(this.cluster, tps, 'earliest', false))
  }

  /**
   * For partitions whose offset does not exist: the committed one, or the oldest record if retention has deleted those in between.
   * @throws {StateError} when the log ends before the committed offset: the records that replaced it were not read, and it is unknown where
   * they start
   */
  async within(states: readonly PartitionState[]): Promise<void> {
    await this.seekTo(states, async tps => {
      const [committed, earliest, latest] = await Promise.all([
        committedOffsets(this.cluster, this.options.group, tps),
        listOffsets(this.cluster, tps, 'earliest', false),
        listOffsets(this.cluster, tps, 'latest', false),
      ])
      const offsets = new Map<string, number>()
      for (const key of tps.map(tpKey)) {
        const [first, end] = [earliest.get(key)!, latest.get(key)!]
        const from = committed.offsets.get(key)?.offset ?? first
        if (from > end)
          throw new StateError(
            `${key} ends at ${end}, but group ${this.options.group} has read up to ${from}: the brokers have lost records (an unclean leader election?). ` +
              'Set the position of the group with runner offsets reset',
          )
        if (from < first) this.options.onLost?.(key, from, first)
        offsets.set(key, Math.max(from, first))
      }
      return offsets
    })
  }

  private async seekTo(
    states: readonly PartitionState[],
    find: (partitions: readonly TopicPartition[]) => Promise<Map<string, number>>,
  ): Promise<void> {
    if (states.length === 0) return
    const epochs = states.map(s => s.epoch)
    const offsets = await find(states.map(s => s.tp))
    states.forEach((state, i) => {
      if (state.epoch === epochs[i]) state.fetchFrom = offsets.get(tpKey(state.tp))
    })
  }
}
