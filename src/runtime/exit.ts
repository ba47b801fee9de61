/** What leaves a lane's chain, into the cycle that is being filled; and the wait when a transform's peer is away. */
import type { LaneInfo, Message } from '../contract/plugin.ts'
import type { Exit, Stage } from './chain.ts'
import type { Cycle } from './cycle.ts'
import type { Failure } from '../kit/dead-letter/dead-letters.ts'
import type { LaneHost } from './lane-host.ts'
import { backoff, pause } from '../kit/pause.ts'
import { GivenBack } from './poison.ts'

/**
 * @param cycle undefined once the chain is that of before a rewind, which may still be waiting in a transform: nothing leaves it then.
 * @param dropped ends the wait for a transform's peer.
 */
export function exitInto(
  cycle: () => Cycle | undefined,
  info: LaneInfo,
  host: LaneHost,
  dropped: AbortSignal,
  bury: (message: Message, failure: Failure) => void,
): Exit {
  const { router } = host
  const kill = (message: Message, failure: Failure): void => {
    if (cycle()) bury(message, failure)
  }
  /** A transform's peer is away. Nothing is dropped for it: the batch waits, and with it the source. */
  const hold = async (stage: Stage, error: Error, attempt: number): Promise<void> => {
    const { clock, log, stopping, source, random } = host
    const stale = (): boolean => cycle() === undefined
    stage.meter.retries++
    log.warn({ step: stage.name, lane: info.id, error: error.message }, 'transform failed, trying again')
    // What can be read again need not hold up the end. What cannot is tried for as long as there is time.
    const leaves = (): boolean => stopping.aborted && source.seek !== undefined
    if (!stale() && !leaves()) {
      const signals = stopping.aborted ? [dropped] : [stopping, dropped]
      await pause(clock, backoff(host.backoff, attempt, random), ...signals)
    }
    if (stale() || leaves()) throw new GivenBack(`given back while ${stage.name} waited: ${error.message}`)
  }
  return {
    emit: messages => {
      const to = cycle()
      if (to) router.route(messages, to, kill)
    },
    emitTo: (stage, port, message) => {
      const to = cycle()
      if (to) router.routePort(stage, port, message, to, kill)
    },
    fail: kill,
    mark: () => {
      const to = cycle()
      const mark = to?.mark()
      return () => {
        if (to && mark) to.undo(mark)
      }
    },
    hold,
  }
}
