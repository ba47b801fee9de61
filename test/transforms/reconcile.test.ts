import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { ReconcileConfig } from '../../src/generated/config-types.ts'
import { type LaneInfo, Message, type Report, type TransformContext } from '../../src/contract/plugin.ts'
import { compareRecords } from '../../src/transforms/reconcile/differences.ts'
import reconcile from '../../src/transforms/reconcile.ts'
import { fakeContext } from '../../src/testing/conformance/context.ts'
import { runRunner, tempDir } from '../support/runner.ts'

interface Bar {
  start: number
  open: number
  close: string
  volume: number
}
const bar = (n: number): Bar => ({ start: n * 60_000, open: 100 + n, close: `${100.1 + n}`, volume: n / 10 })
const gone = bar(-1)
const BARS = Array.from({ length: 10_000 }, (_, n) => bar(n))
const PIPELINE = `name: parity
sources:
  - file: { path: left.jsonl }
    name: left
  - file: { path: right.jsonl }
    name: right
transforms:
  - reconcile: { left: left, right: right, key: start }
sinks:
  - file: { path: faults.jsonl }
`
const lines = (records: readonly unknown[]): string => records.map(r => `${JSON.stringify(r)}\n`).join('')

/** The first `count` of: a bar missing on the left, missing on the right, or with one field that differs; spread over all bars. */
function broken(count: number): { left: Bar[]; right: Bar[]; faults: Record<string, unknown>[] } {
  const left = [...BARS]
  const right = [...BARS]
  const faults = Array.from({ length: count }, (_, i): Record<string, unknown> => {
    const n = 37 + i * 900
    const key = n * 60_000
    if (i % 3 === 0) {
      left[n] = gone
      return { kind: 'missing', key, missing_in: 'left' }
    }
    if (i % 3 === 1) {
      right[n] = gone
      return { kind: 'missing', key, missing_in: 'right' }
    }
    right[n] = { ...right[n], volume: right[n].volume + 1 }
    return { kind: 'mismatch', key, field: 'volume', left: BARS[n].volume, right: BARS[n].volume + 1 }
  })
  return { left: left.filter(b => b !== gone), right: right.filter(b => b !== gone), faults }
}

const run = async (left: readonly unknown[], right: readonly unknown[], ...flags: string[]) => {
  const cwd = tempDir({ 'p.yaml': PIPELINE, 'left.jsonl': lines(left), 'right.jsonl': lines(right) })
  return runRunner(['run', 'p.yaml', ...flags], { cwd })
}

describe('10,000 bars', () => {
  test.each([
    [9, 0],
    [11, 4],
  ])('with %i faults the exit code is %i; each fault is reported with bar and field', async (count, code) => {
    const { left, right, faults } = broken(count)
    const result = await run(left, right.toReversed(), '--json', '--junit', 'report.xml')
    expect(result.stderr).not.toMatch(/"level":"error"/)
    expect(result.code).toBe(code)
    const emitted = readFileSync(join(result.cwd, 'faults.jsonl'), 'utf8').trim().split('\n')
    const found = emitted.map(line => JSON.parse(line) as Record<string, unknown>)
    expect(found.filter(f => f.kind !== 'summary')).toEqual(faults.toSorted((a, b) => Number(a.key) - Number(b.key)))
    expect(found.at(-1)).toMatchObject({ kind: 'summary', ok: code === 0, compared: 10_000, equal: 10_000 - count })
    const { ok, reports } = JSON.parse(result.stdout) as { ok: boolean; reports: Report[] }
    expect(ok).toBe(code === 0)
    expect(reports[0].findings).toHaveLength(count)
    expect(reports[0].summary.parity).toBe(count === 9 ? '99.91 %' : '99.89 %')
    const junit = readFileSync(join(result.cwd, 'report.xml'), 'utf8')
    expect(junit).toContain(`tests="${count + 1}" failures="${code === 0 ? 0 : count + 1}"`)
    for (const { key } of faults) expect(junit).toContain(`name="${String(key)} `)
  })

  test('prints as a table', async () => {
    const { left, right } = broken(11)
    const { stdout } = await run(left, right)
    expect(stdout).toMatch(/parity +99\.89 %/)
    expect(stdout).toMatch(/^110220000 +volume differs +183\.7 +184\.7$/m)
    expect(stdout).toContain('✗ FAILED  parity 99.89 %, 99.9 % is required')
  })
})

test('parity fails without records on either side', async () => {
  const result = await run([], [])
  expect(result.stdout).toContain('nothing to compare')
  expect(result.code).toBe(4)
})

test('an empty side is named', async () => {
  const result = await run(BARS.slice(0, 3), [], '--json')
  expect(JSON.parse(result.stdout)).toMatchObject({ ok: false, reports: [{ summary: { parity: '0 %', missing_in_right: 3 } }] })
  expect(result.code).toBe(4)
})

function side(config: ReconcileConfig, source: string, reports: Report[]) {
  const lane: LaneInfo = { id: `${source}/0`, source }
  const ctx = { ...fakeContext('reconcile'), lane, report: (r: Report) => reports.push(r) } as unknown as TransformContext
  const failed: Error[] = []
  const emitted: Message[] = []
  const out = { emit: (m: Message) => void emitted.push(m), emitTo() {}, fail: (_: Message, e: Error) => void failed.push(e) }
  const transform = reconcile.create(config, ctx)
  return {
    put: (...values: unknown[]) =>
      void transform.process(
        values.map(v => new Message(v)),
        out,
      ),
    end: () => transform.onEnd!(out, 0),
    failed,
    emitted,
  }
}
const config = (over: Partial<ReconcileConfig> = {}): ReconcileConfig =>
  ({ left: 'l', right: 'r', key: 'id', tolerance: 0, tolerances: {}, min_parity: 1, ...over }) as ReconcileConfig

describe('one step', () => {
  test('compares when the last lane has ended, with the last record of each key', () => {
    const reports: Report[] = []
    const c = config()
    const [l, r] = [side(c, 'l', reports), side(c, 'r', reports)]
    l.put({ id: 1, a: 1 }, { id: 1, a: 2 })
    r.put({ id: 1, a: 2 })
    l.end()
    expect(reports).toEqual([])
    r.end()
    expect(reports).toMatchObject([{ ok: true, summary: { compared: 1, equal: 1 } }])
  })

  test('a restored lane starts again', () => {
    const reports: Report[] = []
    const c = config()
    side(c, 'l', reports).put({ id: 1, a: 'half read' })
    const [l, r] = [side(c, 'l', reports), side(c, 'r', reports)]
    l.put({ id: 1, a: 'x' })
    r.put({ id: 1, a: 'x' })
    r.end()
    l.end()
    expect(reports).toMatchObject([{ ok: true }])
  })

  test('the window holds the newest keys of both sides, whatever the number of earlier records', () => {
    const reports: Report[] = []
    const c = config({ window: 3 })
    const [l, r] = [side(c, 'l', reports), side(c, 'r', reports)]
    for (let id = 0; id < 5000; id++) l.put({ id })
    r.put({ id: 4996, old: true }, { id: 4997 }, { id: 4999 })
    l.end()
    r.end()
    expect(reports[0].findings).toEqual([{ subject: '4998', problem: 'missing in r' }])
    expect(reports[0].summary).toMatchObject({ compared: 3, equal: 2 })
  })

  test.each([[[1]], ['text'], [{ other: 1 }], [{ id: null }], [{ id: Number.NaN }]])('%j is not a record that can be compared', value => {
    const one = side(config(), 'l', [])
    one.put(value)
    expect(one.failed).toHaveLength(1)
  })
})

describe('fields', () => {
  const differ = (left: object, right: object, over: object = {}) =>
    compareRecords(left as Record<string, unknown>, right as Record<string, unknown>, { tolerance: 0, tolerances: {}, ...over }).map(
      d => d.field,
    )

  test('numbers and decimal strings are compared exactly, also beyond double precision', () => {
    expect(differ({ a: 0.1, b: '1.50', c: '9007199254740993' }, { a: '0.10', b: 1.5, c: '9007199254740993.0' })).toEqual([])
    expect(differ({ a: '9007199254740993' }, { a: '9007199254740992' })).toEqual(['a'])
    expect(differ({ a: 0.3 }, { a: 0.1 + 0.2 })).toEqual(['a'])
  })

  test('a difference equal to the tolerance is accepted; each field may have its own tolerance', () => {
    expect(differ({ a: 1.1, b: 1.1 }, { a: 1.2, b: 1.2 }, { tolerance: 0.1, tolerances: { b: 0.09 } })).toEqual(['b'])
  })

  test('a field on one side only, a different type and different objects are differences', () => {
    expect(differ({ a: 1, n: null }, { a: 1 })).toEqual(['n'])
    expect(differ({ a: 'x', o: { p: [1] } }, { a: 1, o: { p: [2] } })).toEqual(['a', 'o'])
    expect(differ({ a: 1, b: 2 }, { a: 1, b: 3 }, { fields: ['a'] })).toEqual([])
  })
})
