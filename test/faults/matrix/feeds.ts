/**
 * Sources that cannot be read again. Their peers show into which connection each record went. The promise: a connection that ends takes
 * its newest records with it, and nothing else is missing.
 */
import { Redis } from 'ioredis'
import type { Source } from './ends.ts'
import type { Numbered, Seen } from './records.ts'

const json = (records: readonly Numbered[]): string[] => records.map(record => JSON.stringify(record))
const REKEY = '  - rekey: key'

/** Into which connection each record was sent; undefined: there was none. */
export class Sent {
  private readonly into = new Map<number, string | undefined>()
  private readonly ended: (connection: string) => boolean

  /** @param ended whether the connection has ended, as the peer has it */
  constructor(ended: (connection: string) => boolean) {
    this.ended = ended
  }

  note(records: readonly Numbered[], connection: string | undefined): void {
    for (const { id } of records) this.into.set(id, connection)
  }

  /** Sent into no connection, or the last ones of a key in a connection that has ended. */
  missed(made: readonly Numbered[], seen: readonly Seen[]): Set<number> {
    const found = new Set(seen.map(({ text }) => Number((JSON.parse(text) as Numbered).id)))
    const missed = new Set<number>()
    /** Connection and key in which a newer record has arrived. */
    const open = new Set<string>()
    for (const { id, key } of made.toReversed()) {
      if (!this.into.has(id)) continue
      const connection = this.into.get(id)
      const at = `${connection} ${key}`
      if (found.has(id)) open.add(at)
      else if (connection === undefined || (this.ended(connection) && !open.has(at))) missed.add(id)
    }
    return missed
  }
}

export const FEEDS = {
  websocket: {
    peer: 'feed',
    shared: false,
    goesOn: true,
    async open({ peers, name }) {
      const feed = await peers.feed()
      const sent = new Sent(connection => feed.connection(`/${name}`) !== connection)
      return {
        yaml: `websocket: { url: "ws://${feed.address}/${name}", ping_interval: 4s, stale_after: 10s, reconnect: { initial_delay: 100ms, max_delay: 2s } }`,
        steps: REKEY,
        async write(records) {
          // Without a turn of the event loop in between: the connection cannot change.
          sent.note(records, feed.connection(`/${name}`))
          for (const text of json(records)) feed.send(`/${name}`, text)
        },
        missed: (made, seen) => sent.missed(made, seen),
      }
    },
  },
  redis_pubsub: {
    peer: 'redis',
    shared: false,
    async open({ peers, name }) {
      const peer = await peers.redis()
      const client = new Redis(peer.direct, { lazyConnect: true, maxRetriesPerRequest: null })
      client.on('error', () => {})
      await client.connect()
      /** Subscribers in the order in which Redis has shown them. */
      const known: string[] = []
      let current: string | undefined
      const subscribers = (list: string): void => {
        const now = list.split('\n').flatMap(line => /\bid=(\d+) addr=(\S+)/.exec(line)?.slice(1).join('@') ?? [])
        for (const one of now) if (!known.includes(one)) known.push(one)
        current = known.findLast(one => now.includes(one))
      }
      const sent = new Sent(connection => connection !== current)
      return {
        yaml: `redis: { url: "redis://${peer.address}", patterns: ["${name}.*"] }`,
        // In one transaction: these subscribers, and no others, get the records.
        async write(records) {
          const transaction = client.multi().call('CLIENT', 'LIST', 'TYPE', 'pubsub')
          for (const [i, value] of json(records).entries()) transaction.publish(`${name}.${records[i].key}`, value)
          const [[error, list]] = (await transaction.exec())!
          if (error) throw error
          subscribers(String(list))
          sent.note(records, current)
        },
        missed: (made, seen) => sent.missed(made, seen),
        close: async () => client.disconnect(),
      }
    },
  },
  stdin: {
    shared: false,
    goesOn: true,
    async open() {
      let input: NodeJS.WritableStream | undefined
      let pid: string | undefined
      const sent = new Sent(connection => connection !== pid)
      return {
        yaml: 'stdin: { format: jsonl }',
        steps: REKEY,
        attach(runner) {
          const mine = (pid = String(runner.pid))
          input = runner.input
          runner.input.once('close', () => {
            if (pid === mine) pid = input = undefined
          })
        },
        async write(records) {
          sent.note(records, pid)
          input?.write(`${json(records).join('\n')}\n`)
        },
        missed: (made, seen) => sent.missed(made, seen),
      }
    },
  },
} satisfies Record<string, Source>
