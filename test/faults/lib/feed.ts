/** A live topic: records keep coming, in small pieces, while the runners are being shot at. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Backend } from '../../e2e/lib/backend.ts'
import { closingTicks, type PartitionedTick, type TickOptions, tickRecord, tickStream } from '../../support/golden-ticks.ts'

export interface Feed {
  /** Ends it: brings the number of ticks up to `count`, closes all bars, and resolves to all ticks when they are in the topic. */
  finish(): Promise<PartitionedTick[]>
}

const PAUSE = 50

/** At a pace at which `count` ticks take about `ms`, and on at that pace until `finish`: no fault comes after the work is done. */
export function startFeed(backend: Backend, topic: string, options: TickOptions, count: number, ms: number): Feed {
  const stream = tickStream(options)
  const all: PartitionedTick[] = []
  const piece = Math.max(1, Math.round((count * PAUSE) / ms))
  let over = false
  const send = async (n: number): Promise<void> => {
    const next = Array.from({ length: n }, () => stream.next().value)
    await backend.produce(topic, next.map(tickRecord))
    for (const tick of next) all.push(tick)
  }
  const running = (async () => {
    while (!over) {
      await send(piece)
      await sleep(PAUSE)
    }
  })()
  running.catch(() => {})
  return {
    async finish() {
      over = true
      await running
      if (all.length < count) await send(count - all.length)
      await backend.produce(topic, closingTicks(all).map(tickRecord))
      return all
    },
  }
}
