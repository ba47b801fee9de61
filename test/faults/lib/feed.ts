/** A live topic: records come in small pieces while the runners are being shot at. */
import { setTimeout as sleep } from 'node:timers/promises'
import { closingTicks, type PartitionedTick, tickRecord } from '../../support/golden-ticks.ts'
import type { Backend } from '../../e2e/lib/backend.ts'

export interface Feed {
  /** 0 to 1. */
  readonly progress: number
  /** Lets the last tenth and the closing trades come, and resolves when they are in the topic. */
  finish(): Promise<void>
}

/** Spreads the ticks over about `ms`; keeps the last tenth back until `finish`, so that no fault comes after the work is done. */
export function startFeed(backend: Backend, topic: string, ticks: readonly PartitionedTick[], ms: number): Feed {
  const pieces = Math.max(10, Math.round(ms / 50))
  const held = Math.floor(ticks.length * 0.9)
  let sent = 0
  let hurry = false
  const first = (async () => {
    for (let piece = 1; piece <= pieces; piece++) {
      const to = Math.floor((held * piece) / pieces)
      await backend.produce(topic, ticks.slice(sent, to).map(tickRecord))
      sent = to
      if (!hurry) await sleep(ms / pieces)
    }
  })()
  first.catch(() => {})
  return {
    get progress() {
      return sent / ticks.length
    },
    async finish() {
      hurry = true
      await first
      await backend.produce(topic, [...ticks.slice(sent), ...closingTicks(ticks)].map(tickRecord))
      sent = ticks.length
    },
  }
}
