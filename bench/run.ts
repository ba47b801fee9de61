/** Runs the contenders against one broker, checks what each wrote, and keeps the figures. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { embeddedDriver } from '../src/connectors/kafka/embedded/driver.ts'
import type { Contender, BenchRun } from './contenders/contender.ts'
import { createTopic, deleteTopics, loadLog, type Dataset } from './lib/dataset.ts'
import { measure, type Measurement, type Watch } from './lib/measure.ts'
import { OffsetWatch } from './lib/offsets.ts'
import { checkBars, checkDigits, checkMapped, readKafka, type Output } from './lib/verify.ts'

export interface Figures {
  /** Input records per second between the first and the last visible output. */
  ratePerSecond: number
  /** Start of the process to the last visible output, s. */
  wallSeconds: number
  cpuMicrosPerRecord: number
  peakMb: number
  firstOutputSeconds: number
}

export interface Arena {
  brokers: string
  input: string
  data: Dataset
  /** Of the task `digits`. */
  digits?: { input: string; data: Dataset }
}

/** @throws {Error} when the output is not complete and right: then there is no figure. */
export async function runOnce(contender: Contender, { brokers, digits, ...ticks }: Arena, id: string): Promise<Figures> {
  const arena = { brokers, ...(contender.task === 'digits' ? digits! : ticks) }
  const dir = mkdtempSync(join(tmpdir(), 'bench-'))
  const place: BenchRun = { brokers: arena.brokers, input: arena.input, output: `${id}-out`, id, dir }
  const log = contender.log === 'embedded' ? await embeddedLog(place, arena.data) : kafkaLog(place)
  try {
    await log.prepare()
    const wanted = contender.records ?? (contender.task === 'bars' ? arena.data.barCount : arena.data.count + 1)
    let output: Output = { offsets: [], lines: [] }
    const measured = await measure(
      contender.command(place),
      log.watch(),
      async end => {
        if (end < wanted) return false
        output = await log.read()
        return output.lines.length >= wanted
      },
      dir,
    )
    check(contender, output.lines, arena.data)
    return figures(measured, output, arena.data.count)
  } finally {
    await log.clean()
    rmSync(dir, { recursive: true, force: true })
  }
}

function check({ task, exact, family }: Contender, lines: string[], data: Dataset): void {
  if (task === 'bars') checkBars(lines, data, exact === true)
  else if (task === 'digits') checkDigits(lines, data)
  else if (family !== 'kcat') checkMapped(lines, data)
}

function figures(m: Measurement, { offsets }: Output, count: number): Figures {
  // Output that was already there at the first look does not count in the rate.
  const before = offsets.findIndex(offset => offset >= m.firstEnd)
  const share = before === -1 ? 0 : 1 - before / offsets.length
  return {
    // All of it in one look: then from the start of the process.
    ratePerSecond: share === 0 ? (count * 1000) / m.lastMs : (count * share * 1000) / (m.lastMs - m.firstMs),
    wallSeconds: m.lastMs / 1000,
    cpuMicrosPerRecord: (m.cpuMs * 1000) / count,
    peakMb: m.peakMb,
    firstOutputSeconds: m.firstMs / 1000,
  }
}

interface Log {
  prepare(): Promise<void>
  watch(): Watch
  read(): Promise<Output>
  clean(): Promise<void>
}

function kafkaLog({ brokers, output, id }: BenchRun): Log {
  return {
    prepare: () => createTopic(brokers, output),
    watch: () => new OffsetWatch(brokers, output),
    read: () => readKafka(brokers, output),
    // Also the topics that contenders make for themselves.
    clean: async () => {
      await deleteTopics(brokers, id)
      await sleep(200)
    },
  }
}

async function embeddedLog({ dir, input, output }: BenchRun, data: Dataset): Promise<Log> {
  mkdirSync(dir, { recursive: true })
  const path = join(dir, 'log.db')
  return {
    prepare: async () => {
      const driver = embeddedDriver({ path })
      await driver.createTopics([
        { topic: input, partitions: 1 },
        { topic: output, partitions: 1 },
      ])
      const producer = await driver.producer({ compression: 'none', lingerMs: 0, batchSize: 1 << 20, idempotent: true, acks: -1 })
      await loadLog(producer, input, data)
      await driver.close()
    },
    watch: () => {
      const db = new DatabaseSync(path, { readOnly: true })
      const next = db.prepare('SELECT part.next FROM part JOIN topic ON topic.id = part.topic WHERE topic.name = ?')
      return { end: async () => Number(next.get(output)?.next ?? 0), close: () => db.close() }
    },
    read: async () => {
      const driver = embeddedDriver({ path })
      const result: Output = { offsets: [], lines: [] }
      for (let offset = 0; ; ) {
        const batch = await driver.read({ topic: output, partition: 0 }, offset, { format: 'bytes', isolation: 'read_committed' })
        for (const message of batch.messages) {
          result.offsets.push(message.offset)
          result.lines.push(message.payload!.toString())
        }
        if (batch.nextOffset >= batch.endOffset) break
        offset = batch.nextOffset
      }
      await driver.close()
      return result
    },
    clean: async () => {},
  }
}
