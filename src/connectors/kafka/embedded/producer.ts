import { BatchError } from '../../../contract/plugin.ts'
import type { OutRecord, Producer } from '../driver.ts'
import { Appender, ensureTopics } from './append.ts'
import type { Log } from './log.ts'

interface Send {
  readonly records: readonly OutRecord[]
  resolve(): void
  reject(error: unknown): void
}

/** Sends in the same turn of the event loop share a transaction: a commit costs as much as a thousand records. */
export function embeddedProducer(log: Log): Producer {
  let queue: Send[] = []
  let flushing: Promise<void> | undefined
  let closed = false

  async function flush(): Promise<void> {
    // One turn late, so that concurrent sends are included.
    await new Promise(setImmediate)
    while (queue.length > 0) {
      const sends = queue
      queue = []
      try {
        await write(sends)
      } catch (error) {
        for (const send of sends) send.reject(error)
      }
    }
    flushing = undefined
  }

  async function write(sends: readonly Send[]): Promise<void> {
    const appender = new Appender(log.topics)
    const failures: Map<number, Error>[] = []
    for (const { records } of sends) {
      await ensureTopics(log.topics, records)
      failures.push(appender.add(records))
    }
    await log.db.write(() => appender.write(log.db, log.now()))
    appender.recycle()
    for (const [i, send] of sends.entries()) {
      if (failures[i].size > 0) send.reject(new BatchError(failures[i]))
      else send.resolve()
    }
  }

  return {
    send(records) {
      if (closed) return Promise.reject(new Error('the producer is closed'))
      if (records.length === 0) return Promise.resolve()
      return new Promise((resolve, reject) => {
        queue.push({ records, resolve, reject })
        flushing ??= flush()
      })
    },
    async close() {
      closed = true
      await flushing
    },
  }
}
