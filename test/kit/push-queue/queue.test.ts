import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { useLimits } from '../../../src/kit/limits.ts'
import { createPushQueue, type PushQueue, type PushQueueOptions } from '../../../src/kit/push-queue/queue.ts'
import { Meters } from '../../../src/runtime/telemetry/meters.ts'
import { seeded } from '../../support/random.ts'

let dir: string
let now: number
let meters: Meters
let warnings: string[]
const queues: PushQueue[] = []
const never = new AbortController().signal

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'push-'))
  now = 1_000_000
  meters = new Meters('test')
  warnings = []
})
afterEach(() => {
  for (const q of queues.splice(0)) q.close()
  rmSync(dir, { recursive: true, force: true })
})

function queue(options: Partial<PushQueueOptions> = {}): PushQueue {
  const warn = (_: object, message: string): void => void warnings.push(message)
  const q = createPushQueue({
    dir: join(dir, 'q'),
    maxBytes: 64 * 1024,
    maxSpillBytes: 64 * 1024 * 1024,
    onFull: 'spill',
    metrics: meters,
    log: { debug: warn, info: warn, warn, error: warn },
    step: 'in',
    clock: { now: () => now, monotonic: () => now },
    ...options,
  })
  queues.push(q)
  q.open()
  return q
}
const body = (n: number): Buffer => Buffer.from(`${n}:${'x'.repeat(n % 300)}`)
const fill = (q: PushQueue, from: number, to: number): void => {
  for (let n = from; n < to; n++) q.push({ payload: body(n), key: `k${n % 7}`, topic: `t.${n % 3}`, time: now + n })
}
/** Reads all there is, checking that numbers ascend and every byte is right. @returns the n of each record. */
async function drain(q: PushQueue, commit = true): Promise<number[]> {
  const got: number[] = []
  let last = -1
  while (q.size > 0) {
    const { records, position } = await q.read(never, 333)
    for (const r of records) {
      const n = Number(r.payload.toString().split(':')[0])
      expect(r.payload.equals(body(n))).toBe(true)
      expect([r.key!.toString(), r.topic, r.time]).toEqual([`k${n % 7}`, `t.${n % 3}`, now + n])
      expect(r.seq).toBeGreaterThan(last)
      last = r.seq
      got.push(n)
    }
    expect(position).toBe(last + 1)
    if (commit) q.commit(position)
  }
  return got
}
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)
const metric = (name: string, reason?: string, step?: string): number => {
  let sum = 0
  for (const { labels, value } of meters.families.get(name)?.samples.values() ?? [])
    if ((reason === undefined || labels.reason === reason) && (step === undefined || labels.step === step)) sum += value
  return sum
}

describe('push queue', () => {
  test('keeps bytes, keys, topics, headers and order', async () => {
    const q = queue()
    const headers = [
      ['a', 'text'],
      ['b', Buffer.from([0, 255])],
      ['c', null],
    ] as const
    q.push({ payload: Buffer.from([0, 255, 10]), time: 5, headers })
    q.push({ payload: Buffer.alloc(0), key: Buffer.from([255]), topic: Buffer.from('é'), time: 6 })
    q.push({ payload: Buffer.alloc(200_000, 7), key: '', topic: '', time: 7 })
    const { records } = await q.read(never)
    const more = await q.read(never)
    const all = [...records, ...more.records]
    expect(all.map(r => [r.payload.length, r.key?.toString('hex') ?? null, r.topic, r.time])).toEqual([
      [3, null, undefined, 5],
      [0, 'ff', 'é', 6],
      [200_000, '', '', 7],
    ])
    expect(all[0].payload).toEqual(Buffer.from([0, 255, 10]))
    expect(all[0].headers).toEqual(headers)
  })

  test('a read waits for a push, and the signal aborts it', async () => {
    const q = queue()
    const reading = q.read(never)
    fill(q, 0, 1)
    expect((await reading).records).toHaveLength(1)
    const abort = new AbortController()
    const waiting = expect(q.read(abort.signal)).rejects.toThrow('stop')
    abort.abort(new Error('stop'))
    await waiting
    await expect(q.read(AbortSignal.abort(new Error('again')))).rejects.toThrow('again')
  })

  test('records beyond the memory limit go through the disk, in order and complete, and the file is removed', async () => {
    const q = queue()
    fill(q, 0, 10_000)
    expect(metric('runner_push_queued_bytes')).toBeLessThanOrEqual(64 * 1024)
    expect(metric('runner_push_spilled_bytes')).toBeGreaterThan(1_000_000)
    expect(await drain(q)).toEqual(range(0, 10_000))
    expect(metric('runner_push_dropped_total')).toBe(0)
    expect(metric('runner_push_spilled_bytes')).toBe(0)
    q.close()
    expect(readdirSync(join(dir, 'q', '0'))).toEqual(['lock'])
    expect(warnings).toEqual([])
  })

  test('no file is created while memory suffices', async () => {
    const q = queue()
    fill(q, 0, 50)
    await drain(q)
    q.close()
    expect(existsSync(join(dir, 'q'))).toBe(false)
  })

  test('a restored lane reads uncommitted records again', async () => {
    const q = queue()
    fill(q, 0, 5000)
    const first = await q.read(never, 100)
    const second = await q.read(never, 100)
    q.commit(first.position)
    await drain(q, false)
    q.seek(first.position)
    const one = first.records.length
    expect(await drain(q, false)).toEqual(range(one, 5000))
    q.seek(undefined)
    expect(await drain(q, false)).toEqual(range(one, 5000))
    q.seek(second.position)
    fill(q, 5000, 5100)
    expect(await drain(q)).toEqual(range(one + second.records.length, 5100))
  })

  test('random pushes, reads, commits and restores lose no record and duplicate only restored ones', async () => {
    for (let seed = 1; seed <= 6; seed++) {
      const random = seeded(seed)
      const q = queue({ dir: join(dir, String(seed)), maxBytes: 8192 + Math.floor(random() * 60_000) })
      let pushed = 0
      let committed = 0
      /** Positions handed out, and the n behind them. */
      const positions = new Map<number, number>()
      let next = 0
      for (let i = 0; i < 400; i++) {
        const dice = random()
        if (dice < 0.5) {
          const n = Math.floor(random() * 100)
          fill(q, pushed, pushed + n)
          pushed += n
        } else if (dice < 0.8 && q.size > 0) {
          const { records, position } = await q.read(never, 1 + Math.floor(random() * 150))
          for (const r of records) expect(r.payload.equals(body(next++))).toBe(true)
          positions.set(position, next)
        } else if (dice < 0.95) {
          const open = [...positions].filter(([, n]) => n <= next && n >= committed)
          const pick = open[Math.floor(random() * open.length)]
          if (pick) {
            q.commit(pick[0])
            committed = Math.max(committed, pick[1])
          }
        } else {
          q.seek(undefined)
          next = committed
        }
      }
      while (q.size > 0) for (const r of (await q.read(never)).records) expect(r.payload.equals(body(next++))).toBe(true)
      expect(next).toBe(pushed)
      q.close()
    }
  })

  test('drop_oldest drops the oldest unread records, counts them, and respects its byte limit', async () => {
    const q = queue({ onFull: 'drop_oldest' })
    fill(q, 0, 10_000)
    expect(metric('runner_push_queued_bytes')).toBeLessThanOrEqual(64 * 1024)
    const got = await drain(q)
    expect(got).toEqual(range(10_000 - got.length, 10_000))
    expect(metric('runner_push_dropped_total', 'full')).toBe(10_000 - got.length)
    expect(warnings).toEqual(['the queue is full and drops records: see runner_push_dropped_total'])
  })

  test.each(['drop_oldest', 'drop_newest'] as const)('a full disk: %s, counted', async onSpillFull => {
    const q = queue({ maxSpillBytes: 256 * 1024, onSpillFull })
    fill(q, 0, 10_000)
    expect(metric('runner_push_spilled_bytes')).toBeLessThanOrEqual(256 * 1024)
    expect(metric('runner_push_queued_bytes')).toBeLessThanOrEqual(72 * 1024)
    const got = await drain(q)
    expect(got.length + metric('runner_push_dropped_total')).toBe(10_000)
    expect(metric('runner_push_dropped_total')).toBeGreaterThan(1000)
    if (onSpillFull === 'drop_oldest') expect(got.at(-1)).toBe(9999)
    else expect(got[0]).toBe(0)
  })

  test('block pauses the peer, accepts records that still arrive, and resumes the peer', async () => {
    const calls: boolean[] = []
    const q = queue({ onFull: 'block', onBlock: blocked => void calls.push(blocked) })
    fill(q, 0, 2000)
    expect(calls).toEqual([true])
    expect(await drain(q)).toEqual(range(0, 2000))
    expect(calls).toEqual([true, false])
    expect(metric('runner_push_dropped_total')).toBe(0)
  })

  test('block: records larger than half of the memory do not block permanently', async () => {
    const calls: boolean[] = []
    const q = queue({ onFull: 'block', onBlock: blocked => void calls.push(blocked) })
    for (let n = 0; n < 2; n++) q.push({ payload: Buffer.alloc(40 * 1024), time: 0 })
    expect(calls).toEqual([true])
    while (q.size > 0) q.commit((await q.read(never)).position)
    expect(calls).toEqual([true, false])
  })

  test('the memory of a large record is free once it is committed', async () => {
    const q = queue({ maxBytes: 64 * 1024 * 1024 })
    q.push({ payload: Buffer.alloc(32 * 1024 * 1024), time: 0 })
    expect(metric('runner_push_queued_bytes')).toBeGreaterThan(32 * 1024 * 1024)
    q.commit((await q.read(never)).position)
    expect(metric('runner_push_queued_bytes')).toBe(0)
    q.push({ payload: Buffer.from('next'), time: 0 })
    expect((await q.read(never)).records.map(r => r.payload.toString())).toEqual(['next'])
  })

  test('all queues of the process share limits.input; each may hold 1 MiB, and released memory is available to the others', async () => {
    const MiB = 1024 * 1024
    const release = useLimits({ input: 8 * MiB })
    try {
      const calls: boolean[] = []
      const large = { payload: Buffer.alloc(256 * 1024 - 100), time: 0 }
      const [first, second, third] = [1, 2, 3].map(n =>
        queue({
          dir: join(dir, `q${n}`),
          step: `q${n}`,
          maxBytes: 64 * MiB,
          onFull: n === 1 ? 'spill' : n === 2 ? 'drop_oldest' : 'block',
          onBlock: blocked => void calls.push(blocked),
        }),
      )
      const held = (n: number) => metric('runner_push_queued_bytes', undefined, `q${n}`)
      for (let i = 0; i < 100; i++) first.push(large)
      expect(held(1)).toBeLessThanOrEqual(8 * MiB)
      for (let i = 0; i < 100; i++) second.push(large)
      expect(held(2)).toBe(MiB)
      for (let i = 0; i < 4; i++) third.push(large)
      expect(calls).toEqual([])
      third.push(large)
      expect(calls).toEqual([true])
      while (third.size > 0) third.commit((await third.read(never)).position)
      expect(calls).toEqual([true, false])
      while (first.size > 0) first.commit((await first.read(never)).position)
      for (let i = 0; i < 16; i++) second.push(large)
      expect(held(2)).toBeGreaterThan(4 * MiB)
    } finally {
      release()
    }
  })

  test('fail stops the reader', async () => {
    const q = queue({ onFull: 'fail' })
    fill(q, 0, 2000)
    await expect(q.read(never)).rejects.toThrow("the queue of 'in' is full")
  })

  test('a disk write error is counted, and the queue falls back to dropping', async () => {
    const q = queue({ dir: join(import.meta.filename, 'no-directory') })
    fill(q, 0, 5000)
    const got = await drain(q)
    expect(got.at(-1)).toBe(4999)
    expect(metric('runner_push_spill_errors_total')).toBeGreaterThan(0)
    expect(got.length + metric('runner_push_dropped_total', 'full')).toBe(5000)
  })

  test('a normal end keeps uncommitted records for the next process', async () => {
    const first = queue()
    fill(first, 0, 3000)
    const { position, records } = await first.read(never, 70)
    first.commit(position)
    first.close()
    first.push({ payload: body(1), time: 1 })
    expect(metric('runner_push_dropped_total', 'closed')).toBe(1)
    now += 1000
    const second = queue({ clock: { now: () => now, monotonic: () => now } })
    now -= 1000
    fill(second, 3000, 3100)
    expect(await drain(second)).toEqual(range(records.length, 3100))
    second.close()
    expect(await drain(queue())).toEqual([])
  })

  test('after kill -9 spilled records are present, up to an incomplete end', async () => {
    const script = join(import.meta.dirname, 'spill-child.ts')
    const child = spawn(process.execPath, [script, join(dir, 'q')], { stdio: ['ignore', 'pipe', 'inherit'] })
    const committed = Number(String((await once(child.stdout, 'data'))[0]))
    // While it lives its files are its own.
    const other = queue()
    expect(other.size).toBe(0)
    other.close()
    child.kill('SIGKILL')
    await once(child, 'exit')
    const files = readdirSync(join(dir, 'q', '0'))
      .filter(f => f.endsWith('.seg'))
      .toSorted()
    truncateSync(join(dir, 'q', '0', files.at(-1)!), 300_000)
    const q = queue()
    const got: number[] = []
    while (q.size > 0) for (const r of (await q.read(never)).records) got.push(Number(r.payload.toString().split(':')[0]))
    expect(got.length).toBeGreaterThan(1000)
    // The oldest were in memory.
    expect(got[0]).toBeGreaterThan(committed)
    expect(got).toEqual(range(got[0], got[0] + got.length))
  })
})
