import { afterAll } from 'vitest'
import http from '../../../src/connectors/http/source.ts'
import type { HttpSourceConfig } from '../../../src/generated/config-types.ts'
import { sourceConformance } from '../../conformance/source.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { sourceConfig } from './make.ts'

const opened: { close?(): Promise<void> }[] = []
const records = new Map<number, readonly string[]>()
afterAll(async () => {
  for (const source of opened) await source.close?.()
})

sourceConformance<HttpSourceConfig>('http', {
  plugin: http,
  async prepare(list) {
    const [port] = await freePorts(1)
    records.set(port, list)
    return { config: sourceConfig({ port, max_body: 10_000_000 }) }
  },
  async prepareEndless() {
    const [port] = await freePorts(1)
    return sourceConfig({ port })
  },
  // A webhook does not end by itself: this one gets its requests when it opens, and ends when they have been read.
  create(config, ctx) {
    const source = http.create(config, ctx)
    opened.push(source)
    const list = records.get(config.port)
    let left = list?.length
    return {
      ...source,
      async open(signal) {
        await source.open!(signal)
        if (!list || list.length === 0) return
        const half = Math.floor(list.length / 2)
        for (const part of [list.slice(0, half), list.slice(half)]) {
          const sent = fetch(`http://127.0.0.1:${config.port}/in`, { method: 'POST', body: `[${part.join(',')}]` })
          sent.catch(() => {})
          await new Promise(resolve => setTimeout(resolve, 50))
        }
      },
      async read(signal) {
        if (left === 0 && !signal.aborted) return null
        const batch = await source.read(signal)
        if (left !== undefined) left -= batch!.messages.length
        return batch
      },
      caughtUp: lane => left === 0 || source.caughtUp!(lane),
      close: () => source.close!(),
    }
  },
})
