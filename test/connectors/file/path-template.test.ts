import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { FileSinkConfig } from '../../../src/generated/config-types.ts'
import file from '../../../src/connectors/file/sink.ts'
import { FileSet, type OutputFile } from '../../../src/connectors/file/file-set.ts'
import { baseFolder, checkTemplate, pathMaker } from '../../../src/connectors/file/path-template.ts'
import { BatchError, ConnectionError, Message, type Sink } from '../../../src/contract/plugin.ts'
import { fakeContext, writeContext } from '../../../src/testing/conformance/context.ts'
import { scratch } from './scratch.ts'
import { character } from '../../support/characters.ts'

const at = scratch()
let count = 0
const folder = (): string => at(`t${count++}`)
const config = (path: string, o: Partial<FileSinkConfig> = {}): FileSinkConfig => ({
  path,
  format: 'auto',
  envelope: false,
  fsync: 'never',
  delimiter: ',',
  max_open_files: 100,
  formulas: 'keep',
  ...o,
})
const message = (value: unknown, time = Date.UTC(2026, 0, 31, 9, 5)): Message => new Message(value, 'k', time)

async function open(c: FileSinkConfig): Promise<Sink> {
  const sink = file.create(c, fakeContext('file'))
  await sink.open!(new AbortController().signal)
  return sink
}
const failures = async (sink: Sink, messages: Message[]): Promise<Record<number, string>> => {
  const error = await sink.write(messages, writeContext()).catch((e: unknown) => e)
  if (error === undefined) return {}
  if (!(error instanceof BatchError)) throw error
  return Object.fromEntries(Array.from(error.failed, ([i, e]) => [i, e.message]))
}
/** Files below a folder, with their text. */
const tree = (dir: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter(e => e.isFile())
      .map(e => [resolve(e.parentPath, e.name).slice(resolve(dir).length + 1), readFileSync(resolve(e.parentPath, e.name), 'utf8')]),
  )

describe('names', () => {
  test.each([
    ['out/{hour}/{symbol}.jsonl', 'out/2026-01-31T09/BTC%2FUSD.jsonl'],
    ['out/{year}/{month}/{day}/{minute}', 'out/2026/2026-01/2026-01-31/2026-01-31T09-05'],
    ['{data.id}-{@key}.csv', '12345678901234567890-k.csv'],
    ['/{price}', '/1.10'],
  ])('%s', (template, path) => {
    const payload = Buffer.from('{"symbol":"BTC/USD","price":1.10,"data":{"id":12345678901234567890}}')
    const m = Message.fromRecord(payload, Buffer.from('k'), Date.UTC(2026, 0, 31, 9, 5), undefined, 0, {
      lane: 'l',
      source: 's',
      format: 'json',
    })
    expect(checkTemplate(template)).toBeUndefined()
    expect(pathMaker(template)(m)).toBe(path)
  })

  test.each(['out/{}', 'out/{a b}', 'out/{@nope}', 'out/{a/b}', 'out/{..}', 'out/{hour}/../x'])('%s is rejected by validate', template => {
    expect(file.validateConfig!(config(template))).toMatchObject([{ path: ['path'] }])
  })

  test.each([
    ['{a}/{b}', { a: '.runner', b: 'log.db' }, '%2Erunner/log.db'],
    ['out/{a}.jsonl', { a: '..x' }, 'out/%2E.x.jsonl'],
    ['out/x{a}{b}', { a: '.b', b: '.c' }, 'out/x.b.c'],
  ])('%s of %j: no hidden file or folder', (template, value, path) => expect(pathMaker(template)(message(value))).toBe(path))

  test('any field value becomes one name inside the folder, and different texts have different names', () => {
    const make = pathMaker('base/{a}/x{b}')
    const seen = new Map<string, string>()
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: character }), fc.constantFrom('..', '.', '/', '../..', '%2F', '\0', 'a/../../b', '\\..\\')),
        fc.string(),
        (a, b) => {
          let path: string
          try {
            path = make(message({ a, b }))
          } catch {
            return
          }
          const key = JSON.stringify([a, b])
          const good = path.split('/').length === 3 && resolve('/r', path).startsWith('/r/base/') && !/[\0\\]/.test(path)
          if (!good || (seen.get(path) ?? key) !== key) throw new Error(`${key} became ${path}, as ${seen.get(path)} did`)
          seen.set(path, key)
        },
      ),
      { numRuns: 2000 },
    )
  })
})

describe('the sink', () => {
  test('each message is written to its file; a message without a field of the path fails alone', async () => {
    const dir = folder()
    const sink = await open(config(`${dir}/{day}/{s}.jsonl`))
    const next = Date.UTC(2026, 1, 1)
    const rows = [{ s: 'a', n: 1 }, { n: 2 }, { s: 'b', n: 3 }, { s: '..', n: 4 }, { s: { deep: 1 } }, { s: '' }]
    const got = await failures(sink, [...rows.map(r => message(r)), message({ s: 'a', n: 5 }), message({ s: 'a', n: 6 }, next)])
    await sink.close!()
    expect(Object.keys(got)).toEqual(['1', '4', '5'])
    expect(got[1]).toMatch(/^s is part of the path .* and must be text or a number, not missing$/)
    expect(tree(dir)).toEqual({
      '2026-01-31/a.jsonl': '{"s":"a","n":1}\n{"s":"a","n":5}\n',
      '2026-01-31/b.jsonl': '{"s":"b","n":3}\n',
      // Dots before an extension are a name like any other.
      '2026-01-31/...jsonl': '{"s":"..","n":4}\n',
      '2026-02-01/a.jsonl': '{"s":"a","n":6}\n',
    })
  })

  test('a name of only dots, a name that is too long and a time out of range fail', async () => {
    const dir = folder()
    const sink = await open(config(`${dir}/{s}/{day}`))
    const got = await failures(sink, [
      message({ s: '..' }),
      message({ s: '.' }),
      message({ s: 'é'.repeat(200) }),
      message({ s: 'x' }, 8.64e15 + 1),
      message({ s: 'x' }, -1),
    ])
    await sink.close!()
    expect(Object.keys(got)).toHaveLength(5)
    expect(tree(dir)).toEqual({})
  })

  test('a link that leaves the folder is not followed', async () => {
    const [dir, outside] = [folder(), folder()]
    mkdirSync(dir, { recursive: true })
    mkdirSync(`${dir}/real`)
    mkdirSync(outside, { recursive: true })
    symlinkSync(outside, `${dir}/away`)
    symlinkSync('real', `${dir}/near`)
    symlinkSync(`${outside}/f`, `${dir}/real/x`)
    const sink = await open(config(`${dir}/{s}/{t}`))
    const got = await failures(sink, [
      message({ s: 'away', t: 'a' }),
      message({ s: 'near', t: 'b' }),
      message({ s: 'real', t: 'x' }),
      message({ s: 'real', t: 'c' }),
    ])
    await sink.close!()
    expect(got[0]).toMatch(/away is a link to a folder outside of/)
    expect(got[2]).toMatch(/x is a link/)
    expect(Object.keys(got)).toHaveLength(2)
    expect(tree(outside)).toEqual({})
    expect(existsSync(`${outside}/f`)).toBe(false)
    expect(Object.keys(tree(`${dir}/real`)).toSorted()).toEqual(['b', 'c'])
  })

  test('csv: each file has its header, also after it is reopened', async () => {
    const dir = folder()
    const sink = await open(config(`${dir}/{s}.csv`, { max_open_files: 1 }))
    for (const n of [1, 2])
      expect(
        await failures(
          sink,
          ['a', 'b', 'c'].map(s => message({ s, n })),
        ),
      ).toEqual({})
    await sink.close!()
    expect(tree(dir)).toEqual(Object.fromEntries(['a', 'b', 'c'].map(s => [`${s}.csv`, `s,n\n${s},1\n${s},2\n`])))
  })

  test('a last line truncated by a crash is removed in every file', async () => {
    const dir = folder()
    let sink = await open(config(`${dir}/{s}.jsonl`))
    await failures(sink, [message({ s: 'a', n: 1 })])
    await sink.close!()
    appendFileSync(`${dir}/a.jsonl`, '{"s":"a","n":')
    sink = await open(config(`${dir}/{s}.jsonl`))
    await failures(sink, [message({ s: 'a', n: 2 })])
    await sink.close!()
    expect(tree(dir)).toEqual({ 'a.jsonl': '{"s":"a","n":1}\n{"s":"a","n":2}\n' })
  })
})

describe('the open files', () => {
  const fake = () => {
    const log: string[] = []
    let open = 0
    let most = 0
    const broken = new Set<string>()
    const set = new FileSet(
      m => m.key!,
      (path): OutputFile => ({
        torn: false,
        async open() {
          most = Math.max(most, ++open)
          await new Promise(done => setImmediate(done))
        },
        async write(messages) {
          await new Promise(done => setImmediate(done))
          if (broken.has(path)) throw new ConnectionError('disk full')
          log.push(...messages.map(m => `${path}${String(m.value)}`))
        },
        async close() {
          await new Promise(done => setImmediate(done))
          open--
        },
      }),
      3,
    )
    return { set, log, broken, open: () => open, most: () => most }
  }
  const of = (path: string, n: number): Message => new Message(n, path, 0)

  test('the number of open files stays below the limit, whatever the lanes write at once', async () => {
    const f = fake()
    const lanes = Array.from({ length: 4 }, (_, lane) =>
      Array.from({ length: 50 }, (_, n) => of(`f${(n * 7 + lane) % 11}`, lane * 1000 + n)),
    )
    await Promise.all(lanes.map(messages => f.set.write(messages)))
    expect(f.set.size).toBe(3)
    // One more while another is being closed, at the most three times.
    expect(f.most()).toBeLessThanOrEqual(6)
    expect(f.log.toSorted()).toEqual(
      lanes
        .flat()
        .map(m => `${m.key}${String(m.value)}`)
        .toSorted(),
    )
    await f.set.close()
    expect(f.open()).toBe(0)
  })

  test('when one file fails and the write is retried, the others are not written twice', async () => {
    const f = fake()
    f.broken.add('b')
    const messages = [of('a', 1), of('b', 2), of('c', 3), of('b', 4)]
    await expect(f.set.write(messages)).rejects.toThrow('disk full')
    await expect(f.set.write(messages)).rejects.toThrow('disk full')
    f.broken.clear()
    await f.set.write(messages)
    expect(f.log.toSorted()).toEqual(['a1', 'b2', 'b4', 'c3'])
  })
})

test('check tests the folder of all files', async () => {
  const dir = folder()
  mkdirSync(dir, { recursive: true })
  const ctx = {
    step: 's',
    role: 'sink',
    pipeline: 'p',
    version: 1,
    log: fakeContext('s').log,
    signal: new AbortController().signal,
  } as const
  expect(await file.check!(config(`${dir}/x/{s}`), ctx)).toMatchObject([{ ok: true, detail: 'will be created' }])
  writeFileSync(`${dir}/plain`, '')
  expect(await file.check!(config(`${dir}/plain/{s}`), ctx)).toMatchObject([{ ok: false }])
  expect(baseFolder('{a}/b')).toBe('.')
})
