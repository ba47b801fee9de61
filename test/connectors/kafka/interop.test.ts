/** Other clients read the records of the runner and vice versa, in every compression: kcat (librdkafka) and Apache's Java client. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import type { Compression } from '../../../src/connectors/kafka/codec/compression.ts'
import { type OutRecord, tpKey } from '../../../src/connectors/kafka/driver.ts'
import { partitionOf } from '../../../src/connectors/kafka/partitioner.ts'
import type { Message } from '../../../src/contract/plugin.ts'
import { brokers, consumeAll, createTopic } from '../../support/kafka.ts'
import { java } from './java.ts'
import { makeDriver } from './make.ts'

const COUNT = 3000
const COMPRESSIONS: readonly Compression[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const driver = makeDriver({ brokers: brokers() })
const dir = mkdtempSync(join(tmpdir(), 'interop-'))
afterAll(async () => {
  await driver.close()
  rmSync(dir, { recursive: true, force: true })
})

const value = (i: number): string => `value ${i} größe 価格`
async function write(topic: string, compression: Compression): Promise<void> {
  const producer = await driver.producer({ compression, lingerMs: 5, batchSize: 20_000, idempotent: true, acks: -1 })
  const records = Array.from(
    { length: COUNT },
    (_, i): OutRecord => ({ topic, key: `key-${i % 100}`, value: value(i), headers: [['n', `${i}`]], time: 1_700_000_000_000 + i }),
  )
  for (let i = 0; i < COUNT; i += 500) await producer.send(records.slice(i, i + 500))
  await producer.close()
}

async function readAll(topic: string, partitions: number): Promise<Message[]> {
  const all: Message[] = []
  for (let partition = 0; partition < partitions; partition++) {
    const tp = { topic, partition }
    const end = (await driver.offsets([tp], 'latest')).get(tpKey(tp))!
    for (let at = 0; at < end; ) {
      const batch = await driver.read(tp, at, { format: 'text', isolation: 'read_committed' })
      all.push(...batch.messages)
      at = batch.nextOffset
    }
  }
  return all
}

const number = (text: unknown): number => Number((text as string).split(' ')[1])

describe.each(COMPRESSIONS)('%s', compression => {
  test('kcat reads every record of the runner, with its CRC checked', async () => {
    const topic = await createTopic(undefined, { partitions: 3 })
    await write(topic, compression)
    const found = await consumeAll(topic, { headers: true })
    expect(found).toHaveLength(COUNT)
    for (const r of found) {
      const i = number(r.value!.toString())
      expect([r.value!.toString(), r.key!.toString(), r.time, r.headers]).toEqual([
        value(i),
        `key-${i % 100}`,
        1_700_000_000_000 + i,
        [['n', `${i}`]],
      ])
      expect(r.partition).toBe(partitionOf(`key-${i % 100}`, 3))
    }
  })

  test('the runner reads every record of kcat', async () => {
    const topic = await createTopic()
    const file = join(dir, compression)
    writeFileSync(file, Array.from({ length: COUNT }, (_, i) => `key-${i % 100}|${value(i)}\n`).join(''))
    await promisify(execFile)('kcat', ['-P', '-b', brokers(), '-t', topic, '-l', '-K', '|', '-z', compression, file])
    const found = await readAll(topic, 1)
    expect(found.map(m => [m.failure, m.value, m.key])).toEqual(
      Array.from({ length: COUNT }, (_, i) => [undefined, value(i), `key-${i % 100}`]),
    )
  })
})

test('Java reads the records of the runner in every compression and vice versa, and both choose the same partitions', async () => {
  const topics = async () =>
    Promise.all(COMPRESSIONS.map(async c => ({ topic: await createTopic(undefined, { partitions: 7 }), compression: c })))
  const [ours, theirs] = [await topics(), await topics()]
  const args = (list: typeof ours): string[] => list.map(t => `${t.topic}:${t.compression}`)
  for (const { topic, compression } of ours) await write(topic, compression)
  const read = await java('consume', brokers(), `${COUNT}`, ...args(ours))
  await java('produce', brokers(), `${COUNT}`, ...args(theirs))

  const seen = new Set<string>()
  for (const line of read.trimEnd().split('\n')) {
    const [topic, partition, time, key, ...rest] = line.split(' ')
    const i = number(rest.join(' '))
    seen.add(`${topic} ${i}`)
    expect([rest.join(' '), key, Number(time), Number(partition)]).toEqual([
      value(i),
      `key-${i % 100}`,
      1_700_000_000_000 + i,
      partitionOf(key, 7),
    ])
  }
  expect(seen.size).toBe(COUNT * COMPRESSIONS.length)

  for (const { topic } of theirs) {
    const found = await readAll(topic, 7)
    expect(found).toHaveLength(COUNT)
    for (const m of found) {
      const i = number(m.value)
      expect([m.failure, m.value, m.key, m.time, m.headers]).toEqual([
        undefined,
        value(i),
        `key-${i % 100}`,
        1_700_000_000_000 + i,
        [['n', Buffer.from(`${i}`)]],
      ])
      expect(m.origin!.partition).toBe(partitionOf(m.key!, 7))
    }
  }
})
