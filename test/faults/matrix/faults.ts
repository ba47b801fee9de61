/** The faults, each with the pairs that it can touch. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Api } from '../lib/kafka-proxy.ts'
import type { Pair } from './pairs.ts'
import type { HttpPeer, PeerName } from './peers.ts'
import type { Scene } from './row.ts'

export interface Fault {
  readonly name: string
  touches(pair: Pair): boolean
  /** Before the first start. */
  prepare?(scene: Scene): Promise<void>
  /** Returns when the fault is over; a record of each key is then sent, unless it has called `over` itself. */
  strike(scene: Scene): Promise<void>
  restore?(scene: Scene): Promise<void>
}

const SERVERS = { kafka: 'Kafka', postgres: 'PostgreSQL', redis: 'Redis', http: 'the HTTP service' } as const
const FAKETIME = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1'].find(
  existsSync,
)

const always = (): boolean => true
const talksTo = (peer: PeerName) => (pair: Pair) => pair.peers.includes(peer)

/** Feeding pauses, in the middle of a burst, while the server that is fed is away. */
async function away({ pair, feed }: Scene, peer: PeerName, work: () => Promise<void>): Promise<void> {
  if (pair.fedBy !== peer) return await work()
  await feed.burst()
  await work()
  feed.start()
}

const PROCESS: Fault[] = [
  {
    name: 'the process is killed (SIGKILL) 4 times',
    touches: always,
    async strike(scene) {
      const { fleet, random } = scene
      for (let i = 0; i < 4; i++) {
        // One of them dies while it starts.
        if (i !== 2) await fleet.ready()
        await sleep(200 + random() * 1_000)
        await fleet.kill()
        await fleet.start()
      }
    },
  },
  {
    name: 'the process is stopped (SIGTERM) and started 3 times',
    touches: always,
    async strike({ fleet, random }) {
      for (let i = 0; i < 3; i++) {
        await fleet.ready()
        await sleep(200 + random() * 800)
        fleet.runner().kill('SIGTERM')
        await fleet.runner().exit(0)
        await fleet.start()
      }
    },
  },
  {
    name: 'the process is frozen (SIGSTOP) for 12 s',
    touches: always,
    async strike({ fleet, random }) {
      await sleep(random() * 500)
      fleet.runner().kill('SIGSTOP')
      await sleep(12_000)
      fleet.runner().kill('SIGCONT')
    },
  },
  {
    name: 'one of 2 processes is frozen until the other has taken over',
    touches: pair => pair.shared && pair.source !== 'embedded',
    async strike(scene) {
      const { fleet, random } = scene
      await fleet.start(1)
      await fleet.ready(1)
      await sleep(1_000 + random() * 500)
      fleet.runner(0).kill('SIGSTOP')
      await scene.over()
      fleet.runner(0).kill('SIGCONT')
      await sleep(1_500)
    },
  },
  {
    name: 'one of 2 processes is killed',
    touches: pair => pair.shared,
    async strike(scene) {
      const { fleet, random } = scene
      await fleet.start(1)
      await fleet.ready(1)
      await sleep(1_000 + random() * 500)
      fleet.runner(0).kill('SIGKILL')
      await scene.over()
      await fleet.start(0)
      await fleet.ready(0)
    },
  },
  {
    name: 'the wall clock is set 1 h back, 1 day ahead, and right again',
    touches: () => FAKETIME !== undefined,
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
    async strike({ cwd }) {
      for (const offset of ['-3600', '+86400', '+0']) {
        writeFileSync(join(cwd, 'clock'), offset)
        await sleep(1_500)
      }
    },
  },
]

const server = (peer: PeerName): Fault[] => [
  {
    name: `${SERVERS[peer]} is restarted`,
    touches: pair => talksTo(peer)(pair) && peer !== 'http',
    strike: scene => away(scene, peer, async () => await (await scene.peers.named(peer)).restart()),
  },
  {
    name: `${SERVERS[peer]} is killed and away for 4 s, twice`,
    touches: talksTo(peer),
    async strike(scene) {
      const at = await scene.peers.named(peer)
      for (let i = 0; i < 2; i++) {
        await away(scene, peer, async () => {
          await at.kill()
          await sleep(4_000)
          await at.restart()
        })
        await sleep(500 + scene.random() * 1_000)
      }
    },
  },
  {
    name: `${SERVERS[peer]} accepts and does not answer for 12 s`,
    touches: talksTo(peer),
    async strike(scene) {
      const at = await scene.peers.named(peer)
      await away(scene, peer, async () => {
        at.pause()
        await sleep(12_000)
        at.resume()
      })
    },
  },
  {
    name: `connections to ${SERVERS[peer]} are reset 10 times`,
    touches: talksTo(peer),
    async strike(scene) {
      const { proxy } = await scene.peers.named(peer)
      for (let i = 0; i < 10; i++) {
        await sleep(200 + scene.random() * 500)
        proxy.cut()
        await sleep(20)
        proxy.restore()
      }
    },
    restore: async ({ peers }) => (await peers.named(peer)).proxy.restore(),
  },
  {
    name: `connections to ${SERVERS[peer]} are half open for 12 s`,
    touches: talksTo(peer),
    async strike(scene) {
      const { proxy } = await scene.peers.named(peer)
      await sleep(scene.random() * 500)
      proxy.freeze()
      await sleep(12_000)
      proxy.restore()
    },
    restore: async ({ peers }) => (await peers.named(peer)).proxy.restore(),
  },
  {
    name: `connections to ${SERVERS[peer]} stall, new ones work`,
    touches: talksTo(peer),
    async strike(scene) {
      const { proxy } = await scene.peers.named(peer)
      await sleep(scene.random() * 500)
      proxy.stall()
      await scene.over()
      proxy.restore()
    },
    restore: async ({ peers }) => (await peers.named(peer)).proxy.restore(),
  },
  {
    name: `connections to ${SERVERS[peer]} have 200 ms of latency and 50 kB/s`,
    touches: talksTo(peer),
    async strike(scene) {
      const { proxy } = await scene.peers.named(peer)
      proxy.latency(200)
      proxy.bandwidth(50_000)
      await sleep(6_000)
      proxy.latency(0)
      proxy.bandwidth(0)
    },
    async restore({ peers }) {
      const { proxy } = await peers.named(peer)
      proxy.latency(0)
      proxy.bandwidth(0)
    },
  },
]

/** The steps of a transaction, in their order. */
const STEPS: readonly Api[] = ['AddPartitionsToTxn', 'Produce', 'AddOffsetsToTxn', 'TxnOffsetCommit', 'EndTxn']
const transactional = (pair: Pair): boolean => pair.delivery === 'exactly_once' && pair.sink === 'kafka'

const KAFKA: Fault[] = [
  {
    name: 'the process is killed before and after each step of a transaction',
    touches: transactional,
    async strike({ fleet, peers, random, pair }) {
      const { strikes } = await peers.kafka()
      for (const step of STEPS.filter(s => has(pair, s))) {
        for (const moment of ['before', 'after'] as const) {
          await fleet.ready()
          await strikes.arm(step, moment, 1 + Math.floor(random() * 3), () => fleet.runner().kill('SIGKILL'))
          await fleet.runner().exited
          await fleet.start()
        }
      }
    },
  },
  {
    name: 'requests of each step of a transaction, or their answers, are lost or late',
    touches: transactional,
    async strike({ peers, random, pair }) {
      const { strikes } = await peers.kafka()
      for (const step of STEPS.filter(s => has(pair, s)))
        for (const moment of ['before', 'after', 'late'] as const) await strikes.arm(step, moment, 1 + Math.floor(random() * 3))
    },
  },
]
/** Only a source that is a group of the brokers commits its offsets in the transaction. */
const has = (pair: Pair, step: Api): boolean => pair.source === 'kafka' || !/Offset/.test(step)

const HTTP: Fault[] = [
  {
    name: 'the HTTP service answers 503 for 4 s',
    touches: talksTo('http'),
    async strike({ peers }) {
      const peer: HttpPeer = await peers.http()
      peer.status = 503
      await sleep(4_000)
      peer.status = 200
    },
    restore: async ({ peers }) => void ((await peers.http()).status = 200),
  },
  {
    name: 'the HTTP service takes requests and breaks the connection for 2 s',
    touches: talksTo('http'),
    async strike({ peers }) {
      const peer: HttpPeer = await peers.http()
      peer.status = 0
      await sleep(2_000)
      peer.status = 200
    },
    restore: async ({ peers }) => void ((await peers.http()).status = 200),
  },
]

export const FAULTS: readonly Fault[] = [
  ...PROCESS,
  ...(['kafka', 'postgres', 'redis', 'http'] as const).flatMap(server),
  ...KAFKA,
  ...HTTP,
]
