/** A followed file with both kinds of log rotation, while the runner reads and while it is down. */
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
  openSync,
  closeSync,
  ftruncateSync,
} from 'node:fs'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import file from '../../../src/connectors/file/source.ts'
import type { FileSourceConfig } from '../../../src/generated/config-types.ts'
import type { Position } from '../../../src/contract/plugin.ts'
import { fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { eventually } from '../../support/eventually.ts'
import { scratch, sourceConfig } from './scratch.ts'

const at = scratch()
let count = 0
const fresh = (): string => {
  const folder = at(String(count++))
  mkdirSync(folder)
  return `${folder}/app.log`
}
const configOf = (path: string, o: Partial<FileSourceConfig> = {}): FileSourceConfig =>
  sourceConfig({ path, format: 'text', follow: true, ...o })

/** Follows a file from a position on; `lines` are those delivered so far. */
async function follow(path: string, o: { position?: Position; config?: Partial<FileSourceConfig> } = {}) {
  const ctx = fakeSourceContext('file', o.position === undefined ? new Map() : new Map([[path, o.position]]))
  const counters = new Map<string, number>()
  const metrics = { ...ctx.metrics, counter: (name: string) => ({ inc: () => void counters.set(name, (counters.get(name) ?? 0) + 1) }) }
  const source = file.create(configOf(path, o.config), { ...ctx, metrics })
  const stop = new AbortController()
  await source.open!(stop.signal)
  const lines: string[] = []
  const failures: string[] = []
  const gaps: string[] = []
  let position = o.position
  const reading = (async () => {
    for (;;) {
      const batch = await source.read(stop.signal)
      for (const m of batch!.messages) (m.failure ? failures : lines).push(m.payload!.toString())
      if (batch!.gap) gaps.push(batch!.gap.reason)
      position = batch!.position
    }
  })().catch(() => {})
  return {
    lines,
    failures,
    gaps,
    counters,
    clock: ctx.clock,
    warnings: ctx.warnings,
    caughtUp: () => source.caughtUp!(path),
    /** Waits until it has delivered so many lines, and nothing more is there. */
    async has(n: number) {
      await eventually(() => expect(lines.length).toBeGreaterThanOrEqual(n), { interval: 1 })
      await eventually(() => expect(source.caughtUp!(path)).toBe(true), { interval: 1 })
    },
    async stop(): Promise<Position | undefined> {
      stop.abort(new Error('enough'))
      await reading
      await source.close!()
      return position
    },
  }
}
const numbered = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `line ${from + i}`)
const text = (from: number, to: number): string =>
  numbered(from, to)
    .map(l => `${l}\n`)
    .join('')

/** `app.log.1` becomes `app.log.2`, and so on up to `kept`. */
const shift = (path: string, kept: number): void => {
  for (let k = kept; k >= 1; k--) if (existsSync(`${path}.${k}`)) renameSync(`${path}.${k}`, `${path}.${k + 1}`)
}
const renameAndCreate = (path: string, kept: number, content = ''): void => {
  shift(path, kept)
  renameSync(path, `${path}.1`)
  writeFileSync(path, content)
}
const copyAndTruncate = (path: string, kept = 5): void => {
  shift(path, kept)
  copyFileSync(path, `${path}.1`)
  truncateSync(path)
}

describe('rename and create', () => {
  test('lines appended to the renamed file are read first, until it is silent for rotate_wait', async () => {
    const path = fresh()
    writeFileSync(path, text(1, 4))
    const f = await follow(path, { config: { rotate_wait: 5000 } })
    await f.has(3)
    renameSync(path, `${path}.1`)
    writeFileSync(path, text(20, 23))
    for (let n = 4; n < 10; n++) {
      appendFileSync(`${path}.1`, text(n, n + 1))
      await eventually(() => expect(f.lines).toHaveLength(n), { interval: 1 })
      f.clock.step(f.clock.now() + 4000)
      expect(f.caughtUp(), 'a file waits to be read').toBe(false)
    }
    await eventually(
      () => {
        f.clock.step(f.clock.now() + 1000)
        expect(f.lines).toHaveLength(12)
      },
      { interval: 5 },
    )
    expect(f.lines).toEqual([...numbered(1, 10), ...numbered(20, 23)])
    expect(f.warnings).toEqual([])
    await f.stop()
  })

  test('after several rotations between two checks every file is read in order', async () => {
    const path = fresh()
    writeFileSync(path, text(0, 2))
    const f = await follow(path, { config: { poll_interval: 200 } })
    await f.has(2)
    for (let n = 1; n <= 4; n++) renameAndCreate(path, 4, text(2 * n, 2 * n + 2))
    await f.has(10)
    expect(f.lines).toEqual(numbered(0, 10))
    expect(f.warnings).toEqual([])
    expect(f.counters.get('file_rotations_total')).toBe(4)
    await f.stop()
  })

  test('older files and files with other names are not read', async () => {
    const path = fresh()
    for (const other of ['.2', '.1.gz', '.swp', '.1.txt', '-notes'])
      writeFileSync(`${path}${other}`, other === '.1.gz' ? gzipSync('old\n') : 'old\n')
    writeFileSync(path, text(0, 2))
    const f = await follow(path)
    await f.has(2)
    writeFileSync(`${path.replace('app.log', 'application.log.1')}`, 'another\n')
    writeFileSync(`${path}.orig`, 'another\n')
    renameSync(path, `${path}.1`)
    writeFileSync(path, text(2, 4))
    await f.has(4)
    expect(f.lines).toEqual(numbered(0, 4))
    await f.stop()
  })

  test('a file that was moved away and back is the same file', async () => {
    const path = fresh()
    writeFileSync(path, text(0, 2))
    const f = await follow(path)
    await f.has(2)
    renameSync(path, `${path}.1`)
    renameSync(`${path}.1`, path)
    appendFileSync(path, text(2, 3))
    await f.has(3)
    expect(f.lines).toEqual(numbered(0, 3))
    await f.stop()
  })

  test('a renamed file that is still written to after a minute is reported', async () => {
    const path = fresh()
    writeFileSync(path, text(0, 1))
    const f = await follow(path, { config: { rotate_wait: 5000 } })
    await f.has(1)
    renameSync(path, `${path}.1`)
    writeFileSync(path, 'new\n')
    let n = 1
    await eventually(
      () => {
        appendFileSync(`${path}.1`, text(n, ++n))
        f.clock.step(f.clock.now() + 4000)
        expect(f.warnings.map(w => w.message)).toEqual([expect.stringContaining('is still being written to')])
      },
      { interval: 5 },
    )
    await f.stop()
  })
})

describe('copy and truncate', () => {
  test('unread lines are read from the copy, also if the file has grown beyond the old position', async () => {
    const path = fresh()
    writeFileSync(path, text(0, 2))
    const f = await follow(path, { config: { poll_interval: 200 } })
    await f.has(2)
    appendFileSync(path, text(2, 5))
    copyAndTruncate(path)
    appendFileSync(path, text(5, 40))
    await f.has(40)
    appendFileSync(path, text(40, 41))
    copyAndTruncate(path)
    appendFileSync(path, text(41, 42))
    copyAndTruncate(path)
    appendFileSync(path, text(42, 43))
    await f.has(43)
    expect(f.lines).toEqual(numbered(0, 43))
    expect(f.warnings).toEqual([])
    expect(f.counters.get('file_gaps_total')).toBeUndefined()
    await f.stop()
  })

  test.each([
    ['as large as before', 30],
    ['larger than before', 37],
  ])('lines that all end with the same text, rewritten to a file %s: no line is lost', async (_, rest) => {
    const path = fresh()
    const line = (i: number): string => `${String(i).padStart(4, '0')} ${'x'.repeat(120)}`
    const lines = (from: number, to: number): string[] => Array.from({ length: to - from }, (_item, i) => line(from + i))
    const put = (from: number, to: number): void =>
      appendFileSync(
        path,
        lines(from, to)
          .map(l => `${l}\n`)
          .join(''),
      )
    put(0, 30)
    const f = await follow(path, { config: { poll_interval: 100 } })
    await f.has(30)
    for (const start of [30, 40 + rest]) {
      put(start, start + 10)
      copyAndTruncate(path)
      put(start + 10, start + 10 + rest)
      await f.has(start + 10 + rest)
    }
    expect(f.lines).toEqual(lines(0, 50 + 2 * rest))
    expect(f.warnings).toEqual([])
    await f.stop()
  })

  test('a line split by the truncation is complete', async () => {
    const path = fresh()
    writeFileSync(path, 'one\ntw')
    const f = await follow(path, { config: { poll_interval: 50 } })
    await f.has(1)
    appendFileSync(path, 'o and a ha')
    copyAndTruncate(path)
    appendFileSync(path, 'lf\nthree\n')
    await f.has(3)
    expect(f.lines).toEqual(['one', 'two and a half', 'three'])
    const position = await f.stop()
    const again = await follow(path, { position })
    appendFileSync(path, 'four\n')
    await again.has(1)
    expect(again.lines).toEqual(['four'])
    expect(again.warnings).toEqual([])
    await again.stop()
  })

  test('without a copy: the loss is a gap and counted, and a partial line is dead-lettered', async () => {
    const path = fresh()
    writeFileSync(path, 'one\nhal')
    const f = await follow(path)
    await f.has(1)
    truncateSync(path)
    appendFileSync(path, 'two\n')
    await f.has(2)
    expect([f.lines, f.failures]).toEqual([['one', 'two'], ['hal']])
    expect(f.gaps).toEqual([expect.stringContaining('its copy was not found')])
    expect(f.warnings).toEqual([])
    expect(f.counters.get('file_gaps_total')).toBe(1)
    await f.stop()
  })

  test('a writer without O_APPEND continues at its old position: the hole is not a line', async () => {
    const path = fresh()
    const fd = openSync(path, 'w')
    let offset = 0
    const put = (t: string): void => void (offset += writeSync(fd, t, offset))
    put(text(0, 100))
    const f = await follow(path)
    await f.has(100)
    copyFileSync(path, `${path}.1`)
    ftruncateSync(fd)
    put(text(100, 102))
    await f.has(102)
    expect(f.lines).toEqual(numbered(0, 102))
    const position = await f.stop()
    put(text(102, 103))
    const again = await follow(path, { position })
    await again.has(1)
    expect(again.lines).toEqual(numbered(102, 103))
    expect(again.warnings).toEqual([])
    await again.stop()
    closeSync(fd)
  })
})

describe('rotation while the runner is down', () => {
  async function readTwo(path: string): Promise<Position | undefined> {
    writeFileSync(path, text(0, 2))
    const f = await follow(path)
    await f.has(2)
    return await f.stop()
  }

  interface Rotation {
    /** The next line of the written ones. */
    readonly until: number
    readonly config?: Partial<FileSourceConfig>
    /** Done to a file of which two lines were read and two were not. */
    rotate(path: string): void
  }
  test.each<[string, Rotation]>([
    [
      'rename: the rest of the old file, the files between, then the new one',
      {
        until: 8,
        rotate(path) {
          renameSync(path, `${path}.2`)
          writeFileSync(`${path}.1`, text(4, 6))
          writeFileSync(path, text(6, 8))
        },
      },
    ],
    [
      'compressed meanwhile',
      {
        until: 6,
        rotate(path) {
          writeFileSync(`${path}.1.gz`, gzipSync(readFileSync(path)))
          rmSync(path)
          writeFileSync(path, text(4, 6))
        },
      },
    ],
    [
      'copy and truncate',
      {
        until: 8,
        rotate(path) {
          copyAndTruncate(path)
          appendFileSync(path, text(4, 8))
        },
      },
    ],
    [
      'copied and truncated, and renamed before the runner restarts',
      {
        until: 8,
        rotate(path) {
          copyAndTruncate(path)
          appendFileSync(path, text(4, 6))
          renameAndCreate(path, 1, text(6, 8))
        },
      },
    ],
    [
      'compression in progress: the compressed file is incomplete',
      {
        until: 6,
        config: { encoding: 'auto' },
        rotate(path) {
          copyAndTruncate(path)
          appendFileSync(path, text(4, 6))
          writeFileSync(`${path}.1.gz`, gzipSync(readFileSync(`${path}.1`)).subarray(0, 15))
          const later = Date.now() / 1000 + 5
          utimesSync(`${path}.1.gz`, later, later)
        },
      },
    ],
  ])('%s', async (_, { until, config, rotate }) => {
    const path = fresh()
    const position = await readTwo(path)
    appendFileSync(path, text(2, 4))
    rotate(path)
    const f = await follow(path, { position, config })
    await f.has(until - 2)
    expect(f.lines).toEqual(numbered(2, until))
    expect(f.warnings).toEqual([])
    await f.stop()
  })

  test.each(['app.log-20260131', 'app-20260131.log', 'app.log.old'])('under the name %s', async name => {
    const path = fresh()
    const position = await readTwo(path)
    appendFileSync(path, text(2, 4))
    renameSync(path, path.replace('app.log', name))
    const f = await follow(path, { position })
    await eventually(() => expect(f.lines).toHaveLength(2), { interval: 1 })
    writeFileSync(path, text(4, 6))
    await f.has(4)
    expect(f.lines).toEqual(numbered(2, 6))
    await f.stop()
  })

  test('the former file is gone: the loss is a gap and counted, and later files are read', async () => {
    const path = fresh()
    const position = await readTwo(path)
    rmSync(path)
    writeFileSync(`${path}.1`, text(4, 6))
    writeFileSync(path, text(6, 8))
    const f = await follow(path, { position })
    await f.has(4)
    expect(f.lines).toEqual(numbered(4, 8))
    expect(f.gaps).toEqual([expect.stringContaining('its rotated copy was not found')])
    expect(f.warnings).toEqual([])
    expect(f.counters.get('file_gaps_total')).toBe(1)
    await f.stop()
  })

  test('a lane that is restored during a read continues from the restored position, at any moment', async () => {
    const path = fresh()
    writeFileSync(path, text(0, 2))
    const source = file.create(configOf(path), fakeSourceContext('file'))
    const { signal } = new AbortController()
    await source.open!(signal)
    const first = (await source.read(signal))!
    for (let i = 0; i < 50; i++) {
      // In progress during the restore: it returns records read before, or none.
      const reading = Promise.race([source.read(signal), source.seek!(path, first.position)])
      appendFileSync(path, text(2 + i, 3 + i))
      await source.seek!(path, undefined)
      await reading
      await source.seek!(path, first.position)
      let lines = 0
      while (lines < i + 1) lines += (await source.read(signal))!.messages.length
      expect(lines).toBe(i + 1)
    }
    await source.close!()
  })

  test('a lane that is restored before its first checkpoint returns to its first file', async () => {
    const path = fresh()
    writeFileSync(path, text(0, 2))
    const ctx = fakeSourceContext('file')
    const source = file.create(configOf(path), ctx)
    const { signal } = new AbortController()
    await source.open!(signal)
    const lines = async (): Promise<string[]> => (await source.read(signal))!.messages.map(m => m.payload!.toString())
    expect(await lines()).toEqual(numbered(0, 2))
    renameSync(path, `${path}.1`)
    writeFileSync(path, text(2, 4))
    expect(await lines()).toEqual(numbered(2, 4))
    await source.seek!(path, undefined)
    expect([...(await lines()), ...(await lines())]).toEqual(numbered(0, 4))
    await source.close!()
  })
})

describe('the generation of a record', () => {
  const generations = async (path: string, position?: Position) => {
    const source = file.create(
      configOf(path, { follow: false }),
      fakeSourceContext('file', position === undefined ? new Map() : new Map([[path, position]])),
    )
    await source.open!(new AbortController().signal)
    const batch = await source.read(new AbortController().signal)
    await source.close!()
    return { names: new Set(batch?.messages.map(m => m.origin!.generation)), position: batch?.position }
  }

  test('is equal when the file is read again or continued, and differs after the file was rewritten', async () => {
    const path = fresh()
    writeFileSync(path, text(0, 2))
    const first = await generations(path)
    expect(first.names.size).toBe(1)
    expect((await generations(path)).names).toEqual(first.names)
    appendFileSync(path, text(2, 4))
    const second = await generations(path, first.position)
    expect(second.names).toEqual(first.names)
    writeFileSync(path, text(0, 1))
    const third = await generations(path, second.position)
    expect(third.names).not.toEqual(first.names)
  })
})

test('any order of writes, both kinds of rotation and restarts: every line once, in order', { timeout: 120_000 }, async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('write' as const), n: fc.integer({ min: 1, max: 30 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('rename' as const, 'truncate' as const), n: fc.constant(0) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('settle' as const, 'restart' as const), n: fc.constant(0) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 25 }), fc.boolean(), async (steps, copies) => {
      const path = fresh()
      writeFileSync(path, '')
      let next = 0
      let read: string[] = []
      let f = await follow(path)
      const settle = async (): Promise<void> => {
        await eventually(() => expect(read.length + f.lines.length).toBeGreaterThanOrEqual(next), { interval: 1 })
        await eventually(() => expect(f.caughtUp()).toBe(true), { interval: 1 })
      }
      for (const { kind, n } of [...steps, { kind: 'settle' as const, n: 0 }]) {
        if (kind === 'write') {
          appendFileSync(path, text(next, next + n))
          next += n
        } else if (kind === 'rename' || kind === 'truncate') {
          await settle()
          appendFileSync(path, text(next, next + 3))
          next += 3
          if (copies) copyAndTruncate(path, 30)
          else renameAndCreate(path, 30)
        } else if (kind === 'settle') await settle()
        else if (next > 0) {
          await settle()
          const position = await f.stop()
          read = [...read, ...f.lines]
          f = await follow(path, { position })
        }
      }
      await f.stop()
      read = [...read, ...f.lines]
      expect(read).toEqual(numbered(0, next))
    }),
    { numRuns: 40 },
  )
})

test('a file that was copied and truncated, and later renamed: its copies are not read again', async () => {
  const path = fresh()
  writeFileSync(path, text(0, 2))
  const f = await follow(path)
  await f.has(2)
  for (const n of [2, 6]) {
    appendFileSync(path, text(n, n + 2))
    copyAndTruncate(path, 1)
    appendFileSync(path, text(n + 2, n + 4))
    await f.has(n + 4)
  }
  renameAndCreate(path, 2, text(10, 12))
  await f.has(12)
  expect(f.lines).toEqual(numbered(0, 12))
  await f.stop()
})

test.each(['rename', 'copy'] as const)(
  'under load, rotated over and over, with a writer that is slow to notice: nothing is lost or torn (%s)',
  async way => {
    const path = fresh()
    let fd = openSync(path, 'a')
    let next = 0
    const put = (n: number): void => {
      for (let i = 0; i < n; i++) writeSync(fd, `line ${next++}\n`)
    }
    put(1)
    const f = await follow(path, { config: { poll_interval: 3, rotate_wait: 60_000 } })
    await f.has(1)
    const moment = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
    for (let rotation = 0; rotation < 60; rotation++) {
      for (let i = 0; i < 20; i++) {
        put(20)
        await moment()
      }
      if (way === 'copy') copyAndTruncate(path, 9)
      else {
        renameAndCreate(path, 9)
        put(20)
        await moment()
        put(20)
        closeSync(fd)
        fd = openSync(path, 'a')
      }
      // Ten files are kept, so the reader must not be more than seven behind.
      await eventually(
        () => {
          f.clock.step(f.clock.now() + 60_000)
          expect(f.lines.length).toBeGreaterThan(next - 3000)
        },
        { interval: 1 },
      )
    }
    await eventually(
      () => {
        f.clock.step(f.clock.now() + 60_000)
        expect(f.lines.length).toBeGreaterThanOrEqual(next)
      },
      { interval: 1 },
    )
    expect(f.lines).toEqual(numbered(0, next))
    // A warning that a renamed file still grows is allowed, because a minute of this clock is short.
    expect([f.counters.get('file_gaps_total'), f.failures]).toEqual([undefined, []])
    await f.stop()
    closeSync(fd)
  },
)
