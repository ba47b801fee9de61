import { execFile, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { brokers } from './brokers.ts'

export interface ConsumedRecord {
  partition: number
  offset: number
  /** Epoch ms. */
  time: number
  key: Buffer | null
  value: Buffer | null
  /** Only with `headers: true`; names may repeat. */
  headers?: [name: string, value: string][]
}

export interface ConsumeOptions {
  /** Default `read_committed`: as consumers of exactly-once output should read. */
  isolation?: 'read_committed' | 'read_uncommitted'
  /** Default: all, ordered by partition, then offset. */
  partition?: number
  headers?: boolean
  brokers?: string
  /** Default 60 s. */
  timeoutMs?: number
}

/** Everything that was in the topic when it was called. */
export async function consumeAll(topic: string, options: ConsumeOptions = {}): Promise<ConsumedRecord[]> {
  if (options.isolation !== 'read_uncommitted') await decided(topic, options)
  return await read(topic, ['-e'], options)
}

/** The wait for an open transaction ends here. */
const DECIDED_MS = 10_000

/**
 * Waits until every transaction that had written to the topic is committed or aborted in it. A commit is acknowledged before its
 * markers are in the partitions; until then a `read_committed` consumer stops in front of its records.
 */
async function decided(topic: string, options: ConsumeOptions): Promise<void> {
  const written = await ends(topic, 'read_uncommitted', options)
  for (const deadline = Date.now() + DECIDED_MS; Date.now() < deadline; await sleep(20)) {
    const readable = await ends(topic, 'read_committed', options)
    if (written.every((end, partition) => readable[partition] >= end)) return
  }
}

/** End offset of each partition, by partition. */
async function ends(topic: string, isolation: string, { brokers: at = brokers(), partition }: ConsumeOptions): Promise<number[]> {
  const { stdout: listed } = await promisify(execFile)('kcat', ['-L', '-J', '-b', at, '-t', topic])
  const partitions = (JSON.parse(listed) as { topics: { partitions: { partition: number }[] }[] }).topics[0].partitions
  const asked = partitions.filter(p => partition === undefined || p.partition === partition)
  if (asked.length === 0) return []
  const of = asked.flatMap(p => ['-t', `${topic}:${p.partition}:-1`])
  const { stdout } = await promisify(execFile)('kcat', ['-Q', '-b', at, '-X', `isolation.level=${isolation}`, ...of])
  const found: number[] = []
  for (const [, p, offset] of stdout.matchAll(/\[(\d+)\] offset (\d+)/g)) found[Number(p)] = Number(offset)
  return found
}

/** Waits until the topic holds `count` records and returns them (the first `count` that kcat reads). */
export async function consume(topic: string, count: number, options: ConsumeOptions = {}): Promise<ConsumedRecord[]> {
  return count === 0 ? [] : await read(topic, ['-c', String(count)], options)
}

/** Sends each line of a file as one record (with `-K` style keys when `keyDelimiter` is given); for loads too big for `produce`. */
export async function produceFile(
  topic: string,
  path: string,
  options: { partition?: number; keyDelimiter?: string; idempotent?: boolean; brokers?: string } = {},
): Promise<void> {
  const args = ['-P', '-b', options.brokers ?? brokers(), '-t', topic, '-l', '-X', 'acks=all', '-X', 'linger.ms=20']
  if (options.partition !== undefined) args.push('-p', String(options.partition))
  if (options.idempotent === true) args.push('-X', 'enable.idempotence=true')
  if (options.keyDelimiter !== undefined) args.push('-K', options.keyDelimiter)
  await promisify(execFile)('kcat', [...args, path])
}

async function read(topic: string, until: string[], options: ConsumeOptions): Promise<ConsumedRecord[]> {
  const common = ['-C', '-q', '-b', options.brokers ?? brokers(), '-t', topic, '-o', 'beginning', ...until]
  common.push(
    '-X',
    `isolation.level=${options.isolation ?? 'read_committed'}`,
    '-X',
    'allow.auto.create.topics=false',
    '-X',
    'fetch.wait.max.ms=20',
  )
  if (options.partition !== undefined) common.push('-p', String(options.partition))
  const timeoutMs = options.timeoutMs ?? 60_000
  const records = parseFrames(await kcat([...common, '-f', FRAME], timeoutMs, topic))
  if (options.headers === true) {
    // The frame's text form of headers can't be split again when a value holds a comma; the JSON form can, but spoils binary payloads.
    const headers = parseHeaders(await kcat([...common, '-J'], timeoutMs, topic))
    for (const record of records) record.headers = headers.get(`${record.partition}/${record.offset}`) ?? []
  }
  return records.toSorted((a, b) => a.partition - b.partition || a.offset - b.offset)
}

function kcat(args: string[], timeoutMs: number, topic: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn('kcat', args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const out: Buffer[] = []
    let problem = ''
    let late = false
    const timer = setTimeout(() => {
      late = true
      // SIGTERM lets it flush what it has read, so that the message below can count it.
      child.kill('SIGTERM')
      setTimeout(() => child.kill('SIGKILL'), 2_000).unref()
    }, timeoutMs)
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => (problem += chunk))
    child.once('error', reject)
    child.once('close', code => {
      clearTimeout(timer)
      const bytes = Buffer.concat(out)
      if (late) reject(new Error(`${topic}: ${parseCount(args, bytes)} records after ${timeoutMs} ms, still waiting`))
      else if (code === 0) resolve(bytes)
      else reject(new Error(`kcat ${args.join(' ')}: exit ${code}: ${problem.trim()}`))
    })
  })
}

// partition, offset, time, key length, value length (-1: null), then the bytes
const FRAME = '%p %o %T %K %S\n%k%s'

function parseFrames(bytes: Buffer): ConsumedRecord[] {
  const records: ConsumedRecord[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(10, at)
    // Killed in the middle of a record: only complete records count.
    if (end === -1) break
    const [partition, offset, time, keyLength, valueLength] = bytes.toString('latin1', at, end).split(' ').map(Number)
    const keyEnd = end + 1 + Math.max(keyLength, 0)
    const valueEnd = keyEnd + Math.max(valueLength, 0)
    records.push({
      partition,
      offset,
      time,
      key: keyLength === -1 ? null : bytes.subarray(end + 1, keyEnd),
      value: valueLength === -1 ? null : bytes.subarray(keyEnd, valueEnd),
    })
    at = valueEnd
  }
  return records
}

function parseHeaders(bytes: Buffer): Map<string, [string, string][]> {
  const found = new Map<string, [string, string][]>()
  for (const line of bytes.toString().split('\n')) {
    if (line === '') continue
    const { partition, offset, headers = [] } = JSON.parse(line) as { partition: number; offset: number; headers?: string[] }
    const pairs: [string, string][] = []
    for (let i = 0; i < headers.length; i += 2) pairs.push([headers[i], headers[i + 1]])
    found.set(`${partition}/${offset}`, pairs)
  }
  return found
}

const parseCount = (args: string[], bytes: Buffer): number =>
  args.includes('-J') ? bytes.toString().split('\n').length - 1 : parseFrames(bytes).length
