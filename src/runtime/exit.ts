/** What leaves a lane's chain, into the cycle that is being filled. */
import type { Message } from '../plugin.ts'
import type { Exit } from './chain.ts'
import type { Cycle } from './cycle.ts'
import type { Failure } from './dead-letters.ts'
import type { Router } from './router.ts'

/** @param cycle undefined once the chain is that of before a rewind, which may still be waiting in a transform: nothing leaves it then. */
export function exitInto(
  cycle: () => Cycle | undefined,
  router: Router,
  bury: (message: Message, failure: Failure) => void,
  hold: Exit['hold'],
): Exit {
  const kill = (message: Message, failure: Failure): void => {
    if (cycle()) bury(message, failure)
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
