/** The faults, each with the pairs that it can touch. */
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Api } from '../lib/kafka-proxy.ts'
import type { Pair } from './pairs.ts'
import type { PeerName, Peers } from './peers.ts'
import { eventually } from '../../support/eventually.ts'
import { tempDir } from '../../support/runner.ts'
import type { KafkaServer } from '../../support/servers/kafka.ts'
import type { TcpProxy } from '../../support/tcp-proxy.ts'
import type { Scene } from './row.ts'

export interface Fault {
  readonly name: string
  touches(pair: Pair): boolean
  /** Before the first start. */
  prepare?(scene: Scene): Promise<void>
  /** It strikes at whatever comes next at a server: one pair at a time. */
  readonly alone?: boolean
  /** Of several pairs at once. Returns when the fault is over; a record of each key is then sent, unless it has called `over` itself. */
  strike(scenes: readonly Scene[], peers: Peers): Promise<void>
  restore?(peers: Peers, scenes: readonly Scene[]): Promise<void>
  /** The directory of a pair; default: a temporary one. */
  place?(): string
}

const SERVERS = {
  kafka: 'Kafka',
  postgres: 'PostgreSQL',
  redis: 'Redis',
  http: 'the HTTP service',
  feed: 'the WebSocket feed',
  client: 'the WebSocket client',
  sheets: 'Google Sheets',
} as const
const FAKETIME = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1'].find(
  existsSync,
)

/** A cluster has faults of its own. */
const always = (pair: Pair): boolean => !pair.cluster
const transactional = (pair: Pair): boolean => always(pair) && pair.delivery === 'exactly_once' && pair.sink === 'kafka'
/** Pairs with a step are for faults of processes: those of servers have nothing to do with state. */
const talksTo = (peer: PeerName) => (pair: Pair) => pair.peers.includes(peer) && pair.middle === undefined

const each =
  (work: (scene: Scene) => Promise<void>) =>
  async (scenes: readonly Scene[]): Promise<void> =>
    void (await Promise.all(scenes.map(scene => scene.attempt(() => work(scene)))))
const allOver = each(scene => scene.over())

/** Feeding pauses, in the middle of a burst, while the server that is fed is away. */
async function away(scenes: readonly Scene[], peer: PeerName, work: () => Promise<void>): Promise<void> {
  const fed = scenes.filter(({ pair }) => pair.fedBy === peer)
  await each(({ feed }) => feed.burst())(fed)
  await work()
  for (const { feed } of fed) feed.start()
}

const frozen = (seconds: number, touches: Fault['touches']): Fault => ({
  name: `the process is frozen (SIGSTOP) for ${seconds} s`,
  touches,
  strike: each(async scene => {
    const { fleet, random } = scene
    await sleep(random() * 500)
    await scene.freeze()
    await sleep(seconds * 1000)
    fleet.runner().kill('SIGCONT')
  }),
})

const PROCESS: Fault[] = [
  {
    name: 'the process is killed (SIGKILL) 4 times',
    touches: always,
    strike: each(async scene => {
      const { fleet, random } = scene
      for (let i = 0; i < 4; i++) {
        // One of them dies while it starts.
        if (i !== 2) await fleet.ready()
        await sleep(200 + random() * 1_000)
        await fleet.kill()
        await fleet.start()
      }
    }),
  },
  {
    name: 'the process is stopped (SIGTERM) and started 3 times',
    touches: always,
    strike: each(async ({ fleet, random }) => {
      for (let i = 0; i < 3; i++) {
        await fleet.ready()
        await sleep(200 + random() * 800)
        fleet.runner().kill('SIGTERM')
        await fleet.runner().exit(0)
        await fleet.start()
      }
    }),
  },
  frozen(12, always),
  // Longer than the brokers keep a session, and a transaction open (60 s).
  frozen(64, pair => transactional(pair) && pair.source === 'kafka'),
  {
    name: 'one of 2 processes is frozen until the other has claimed its lanes',
    touches: pair => always(pair) && pair.shared && pair.source !== 'embedded',
    strike: each(async scene => {
      const { fleet, random } = scene
      await fleet.start(1)
      await fleet.ready(1)
      await sleep(1_000 + random() * 500)
      fleet.runner(0).kill('SIGSTOP')
      await scene.over()
      fleet.runner(0).kill('SIGCONT')
      await sleep(1_500)
    }),
  },
  {
    name: 'one of 2 processes is killed',
    touches: pair => always(pair) && pair.shared,
    strike: each(async scene => {
      const { fleet, random } = scene
      await fleet.start(1)
      await fleet.ready(1)
      await sleep(1_000 + random() * 500)
      fleet.runner(0).kill('SIGKILL')
      await scene.over()
      await fleet.start(0)
      await fleet.ready(0)
    }),
  },
  {
    name: 'the wall clock is set 1 h back, 1 day ahead, and right again',
    touches: pair => always(pair) && FAKETIME !== undefined,
    async prepare({ fleet, cwd }) {
      const file = join(cwd, 'clock')
      writeFileSync(file, '+0')
      Object.assign(fleet.env, {
        LD_PRELOAD: FAKETIME,
        FAKETIME_TIMESTAMP_FILE: file,
        FAKETIME_NO_CACHE: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      })
    },
    strike: each(async ({ cwd }) => {
      for (const offset of ['-3600', '+86400', '+0']) {
        writeFileSync(join(cwd, 'clock'), offset)
        await sleep(1_500)
      }
    }),
  },
]

const server = (peer: PeerName): Fault[] => {
  const touches = talksTo(peer)
  const proxyOf = async (peers: Peers): Promise<TcpProxy> => (await peers.named(peer)).proxy
  const restore = async (peers: Peers): Promise<void> => {
    const proxy = await proxyOf(peers)
    proxy.latency(0)
    proxy.bandwidth(0)
    proxy.restore()
  }
  return [
    {
      name: `${SERVERS[peer]} is restarted`,
      touches: pair => touches(pair) && peer === 'kafka',
      strike: (scenes, peers) => away(scenes, peer, async () => await (await peers.named(peer)).restart()),
    },
    {
      name: `${SERVERS[peer]} is killed and away for 4 s, twice`,
      touches,
      async strike(scenes, peers) {
        const at = await peers.named(peer)
        for (let i = 0; i < 2; i++) {
          await away(scenes, peer, async () => {
            await at.kill()
            await sleep(4_000)
            await at.restart()
          })
          await sleep(500 + scenes[0].random() * 1_000)
        }
      },
    },
    {
      name: `${SERVERS[peer]} accepts and does not answer for 12 s`,
      // Seen from the runner, spreadsheets that do not answer are a half-open connection.
      touches: pair => touches(pair) && peer !== 'sheets',
      async strike(scenes, peers) {
        const at = await peers.named(peer)
        await away(scenes, peer, async () => {
          at.pause()
          await sleep(12_000)
          at.resume()
        })
      },
    },
    {
      name: `connections to ${SERVERS[peer]} are reset 10 times`,
      touches,
      async strike([{ random }], peers) {
        const proxy = await proxyOf(peers)
        for (let i = 0; i < 10; i++) {
          await sleep(200 + random() * 500)
          proxy.cut()
          await sleep(20)
          proxy.restore()
        }
      },
      restore,
    },
    {
      name: `connections to ${SERVERS[peer]} are half open for 12 s`,
      touches,
      async strike([{ random }], peers) {
        const proxy = await proxyOf(peers)
        await sleep(random() * 500)
        proxy.freeze()
        await sleep(12_000)
        proxy.restore()
      },
      restore,
    },
    {
      name: `connections to ${SERVERS[peer]} stall, new ones work`,
      touches,
      async strike(scenes, peers) {
        const proxy = await proxyOf(peers)
        await sleep(scenes[0].random() * 500)
        proxy.stall()
        await allOver(scenes)
        proxy.restore()
      },
      restore,
    },
    {
      name: `connections to ${SERVERS[peer]} have 200 ms of latency and 50 kB/s`,
      touches: pair => touches(pair) && peer !== 'redis',
      async strike(_, peers) {
        const proxy = await proxyOf(peers)
        proxy.latency(200)
        proxy.bandwidth(50_000)
        await sleep(6_000)
        proxy.latency(0)
        proxy.bandwidth(0)
      },
      restore,
    },
  ]
}

/** The steps of a transaction, in their order. */
const STEPS: readonly Api[] = ['AddPartitionsToTxn', 'Produce', 'AddOffsetsToTxn', 'TxnOffsetCommit', 'EndTxn']
/** Only a source that is a group of the brokers commits its offsets in the transaction. */
const stepsOf = (pair: Pair): Api[] => STEPS.filter(step => pair.source === 'kafka' || !/Offset/.test(step))

const KAFKA: Fault[] = [
  {
    name: 'the process is killed before and after each step of a transaction',
    touches: transactional,
    alone: true,
    strike: each(async ({ fleet, peers, random, pair }) => {
      const { strikes } = await peers.kafka()
      for (const step of stepsOf(pair)) {
        for (const moment of ['before', 'after'] as const) {
          await fleet.ready()
          await strikes.arm(step, moment, 1 + Math.floor(random() * 3), () => fleet.runner().kill('SIGKILL'))
          await fleet.runner().exited
          await fleet.start()
        }
      }
    }),
  },
  {
    name: 'requests of each step of a transaction, or their answers, are lost or late',
    touches: transactional,
    alone: true,
    strike: each(async ({ peers, random, pair }) => {
      const { strikes } = await peers.kafka()
      for (const step of stepsOf(pair))
        for (const moment of ['before', 'after', 'late'] as const) await strikes.arm(step, moment, 1 + Math.floor(random() * 3))
    }),
  },
]

/** Strikes at the leader of a partition of the input; feeding pauses until the others have a new one. */
const leaderless = (
  name: string,
  strike: (server: KafkaServer) => Promise<unknown>,
  mend: (server: KafkaServer) => Promise<unknown>,
): Fault => ({
  name,
  touches: pair => pair.cluster && !pair.lone,
  async strike(scenes, peers) {
    const peer = await peers.cluster()
    const [{ open, random }] = scenes
    const topic = `${/^name: (.*)$/m.exec(open.yaml)![1]}-in`
    const partition = Math.floor(random() * 4)
    const server = await peer.cluster.leader(topic, partition)
    if (!server) throw new Error(`${topic}/${partition} has no leader`)
    await each(({ feed }) => feed.burst())(scenes)
    peer.away(server)
    await strike(server)
    await eventually(async () => {
      const leader = await peer.cluster.leader(topic, partition, [server])
      if (!leader || leader === server) throw new Error(`${topic}/${partition} has no new leader`)
    })
    await allOver(scenes)
    for (const { feed } of scenes) feed.start()
    await mend(server)
    peer.back(server)
    await sleep(3_000)
  },
})
const CLUSTER: Fault[] = [
  leaderless(
    'a leader of 3 is frozen until another leads',
    async server => server.pause(),
    async server => server.resume(),
  ),
  leaderless(
    'a leader of 3 is killed',
    server => server.kill(),
    server => server.restart(),
  ),
  {
    name: 'brokers of 3 are restarted one after another',
    touches: pair => pair.cluster && !pair.lone,
    async strike(scenes, peers) {
      const peer = await peers.cluster()
      for (const server of peer.cluster.servers) {
        await each(({ feed }) => feed.burst())(scenes)
        peer.away(server)
        await server.restart()
        peer.back(server)
        for (const { feed } of scenes) feed.start()
        await sleep(2_000)
      }
    },
  },
  {
    name: '2 brokers of 3 are frozen for 12 s',
    touches: pair => pair.cluster && !pair.lone,
    async strike(scenes, peers) {
      const { cluster } = await peers.cluster()
      await each(({ feed }) => feed.burst())(scenes)
      for (const server of cluster.servers.slice(0, 2)) server.pause()
      await sleep(12_000)
      for (const server of cluster.servers.slice(0, 2)) server.resume()
      for (const { feed } of scenes) feed.start()
    },
  },
]

/** Partitions that are on this broker only have no leader meanwhile. */
const LONE: Fault[] = [
  {
    name: 'the only broker of a partition is killed and away for 10 s',
    touches: pair => pair.lone,
    async strike(scenes, peers) {
      const peer = await peers.cluster()
      const [{ open, random }] = scenes
      const topic = `${/^name: (.*)$/m.exec(open.yaml)![1]}-in`
      const server = await peer.cluster.leader(topic, Math.floor(random() * 4))
      if (!server) throw new Error(`${topic} has no leader`)
      await each(({ feed }) => feed.burst())(scenes)
      peer.away(server)
      await server.kill()
      await sleep(10_000)
      await server.restart()
      peer.back(server)
      for (const { feed } of scenes) feed.start()
      await sleep(1_000)
    },
  },
]

const COMMIT = 'commit\0'
const POSTGRES: Fault[] = [
  {
    name: 'COMMITs to PostgreSQL, or their answers, are lost or late',
    touches: pair => always(pair) && pair.sink.startsWith('postgres'),
    alone: true,
    async strike(scenes, peers) {
      const { proxy } = await peers.postgres()
      await each(async ({ fleet }) => {
        for (const what of ['request', 'answer', 'request', 'answer', 'answer'] as const) {
          await proxy.lose(COMMIT, what)
          await fleet.ready()
        }
        // The client gives it up; the server gets it behind the repetition.
        proxy.stall(COMMIT)
        await eventually(() => {
          if (!proxy.held.includes(COMMIT)) throw new Error('no COMMIT was held')
        })
        proxy.abandon()
        await sleep(3_000)
        proxy.restore()
      })(scenes)
    },
    async restore(peers) {
      ;(await peers.postgres()).proxy.restore()
    },
  },
]

const DISK = 16 * 1024 * 1024
const DISKS: Fault[] = [
  {
    name: 'the disk is full until the process ends or is not ready',
    touches: pair => pair.sink === 'embedded' || pair.sink === 'file' || (pair.source === 'websocket' && pair.middle !== undefined),
    place() {
      const dir = tempDir()
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK}`, 'tmpfs', dir])
      return dir
    },
    strike: each(async ({ cwd, feed, fleet }) => {
      await feed.stop()
      fill(join(cwd, 'filler'))
      feed.patiently()
      await fleet.refused()
      await sleep(1_000)
      rmSync(join(cwd, 'filler'))
      await fleet.revive()
      await fleet.ready()
    }),
    async restore(_, scenes) {
      for (const { cwd } of scenes) execFileSync('umount', ['-l', cwd])
    },
  },
]

/** Takes what is left of the disk. */
function fill(path: string): void {
  const file = openSync(path, 'w')
  try {
    for (const piece of [65_536, 4_096]) {
      try {
        for (;;) writeSync(file, Buffer.alloc(piece))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      }
    }
  } finally {
    closeSync(file)
  }
}

const service = (name: string, status: number, ms: number): Fault => ({
  name,
  touches: talksTo('http'),
  async strike(_, peers) {
    const peer = await peers.http()
    peer.status = status
    await sleep(ms)
    peer.status = 200
  },
})
const HTTP: Fault[] = [
  service('the HTTP service answers 503 for 4 s', 503, 4_000),
  service('the HTTP service takes requests and breaks the connection for 2 s', 0, 2_000),
]

const SHEETS: Fault[] = [
  {
    name: 'Google Sheets answers 503 and 429, and breaks connections, before or after it has written',
    touches: talksTo('sheets'),
    alone: true,
    async strike(scenes, peers) {
      const { server } = await peers.sheets()
      server.faults.push(
        { status: 503 },
        { status: 503, applied: true },
        { cut: true, applied: false },
        { cut: true, applied: true },
        { status: 429 },
        { status: 500, applied: true },
      )
      await each(async () => {
        await eventually(() => {
          if (server.faults.length > 0) throw new Error(`${server.faults.length} of the faults have not happened yet`)
        })
      })(scenes)
    },
  },
]

export const FAULTS: readonly Fault[] = [
  ...PROCESS,
  ...(['kafka', 'postgres', 'redis', 'http', 'feed', 'client', 'sheets'] as const).flatMap(server),
  ...KAFKA,
  ...CLUSTER,
  ...LONE,
  ...POSTGRES,
  ...DISKS,
  ...HTTP,
  ...SHEETS,
]
