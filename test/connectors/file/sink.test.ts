import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { type FileHandle, open as openFile } from 'node:fs/promises'
import { describe, expect, test, vi } from 'vitest'
import type { FileSinkConfig } from '../../../src/generated/config-types.ts'
import { parseRecord, standard } from '../../../src/kit/lines/csv.ts'
import file from '../../../src/connectors/file/sink.ts'
import { Splitter } from '../../../src/kit/lines/splitter.ts'
import { BatchError, ExactNumber, type Header, Message, type Origin } from '../../../src/contract/plugin.ts'
import { fakeContext, writeContext } from '../../../src/testing/conformance/context.ts'
import { sinkConformance } from '../../conformance/sink.ts'
import { scratch } from './scratch.ts'

const at = scratch()
let count = 0
const fresh = (name = 'out.jsonl') => at(`${count++}/deep/${name}`)
const config = (o: Partial<FileSinkConfig> & { path: string }): FileSinkConfig => ({
  format: 'auto',
  envelope: false,
  max_open_files: 100,
  formulas: 'keep',
  fsync: 'never',
  delimiter: ',',
  ...o,
})
const text = (path: string) => readFileSync(path, 'utf8')

sinkConformance('file, jsonl', {
  plugin: file,
  async prepare() {
    const path = fresh()
    return { config: config({ path, fsync: 'always' }), read: async () => (existsSync(path) ? text(path).split('\n').slice(0, -1) : []) }
  },
})

sinkConformance('file, csv', {
  plugin: file,
  show: value => JSON.stringify(Object.values(value as object).map(String)),
  async prepare() {
    const path = fresh('out.csv')
    const read = async () => {
      const lines = new Splitter({ maxBytes: 1e6, csv: { delimiter: 44, quote: 34, backslash: false, preamble: 0 } }).push(
        readFileSync(path),
      )
      return lines.slice(1).map(l => JSON.stringify(parseRecord(l.bytes.toString(), standard(','))))
    }
    return { config: config({ path }), read }
  },
})

const origin = (format: Origin['format']): Origin => ({ lane: 'in/0', source: 'in', format })
const raw = (payload: string | null, format: Origin['format'] = 'json', headers?: readonly Header[]) =>
  Message.fromRecord(payload === null ? null : Buffer.from(payload), Buffer.from('k'), 1000, headers, 7, origin(format))

async function written(c: FileSinkConfig, ...messages: Message[]): Promise<string> {
  const sink = file.create(c, fakeContext('file'))
  await sink.open!(new AbortController().signal)
  await sink.write(messages, writeContext())
  await sink.close!()
  return text(c.path)
}

describe('one line per message', () => {
  test('jsonl: bytes unchanged, line breaks removed with all digits kept, tombstones as null, text as JSON', async () => {
    const cases: [Message, string][] = [
      [raw('{"a": 1.0}'), '{"a": 1.0}'],
      [raw('{\r\n  "id": 12345678901234567890,\n  "a": "x\\ny"\n}'), '{ "id": 12345678901234567890, "a": "x\\ny" }'],
      [raw(null), 'null'],
      [raw('{broken'), '{broken'],
      [raw('{bro\nken'), '"{bro\\nken"'],
      [raw('it is\ntext', 'text'), '"it is\\ntext"'],
      [raw('plain', 'text'), '"plain"'],
      [new Message({ a: 1 }), '{"a":1}'],
      [new Message('text'), '"text"'],
      [new Message(null), 'null'],
    ]
    const lines = await written(config({ path: fresh() }), ...cases.map(([m]) => m))
    expect(lines.split('\n')).toEqual([...cases.map(([, line]) => line), ''])
  })

  test('text: the text unchanged', async () => {
    const lines = await written(config({ path: fresh('out.log') }), raw('a\nb\r\nc', 'text'), new Message('d'), new Message({ e: 1 }))
    expect(lines).toBe('a b c\nd\n{"e":1}\n')
  })

  test('envelope: all data of a dead letter, with the exact value', async () => {
    const dead = (payload: Buffer | string) =>
      new Message(Buffer.from(payload), 'k', 1000, [
        ['error_type', 'data'],
        ['step', Buffer.from('bars')],
        ['x', null],
      ])
    const lines = await written(
      config({ path: fresh(), envelope: true }),
      dead('{"id":12345678901234567890}'),
      dead('{'),
      dead(Buffer.from([0xff])),
      raw(null),
    )
    const head = '{"time":"1970-01-01T00:00:01.000Z","key":"k","headers":{"error_type":"data","step":"bars","x":null},'
    expect(lines.split('\n')).toEqual([
      `${head}"value":{"id":12345678901234567890}}`,
      `${head}"value":"{"}`,
      `${head}"value_base64":"/w=="}`,
      '{"time":"1970-01-01T00:00:01.000Z","key":"k","headers":{},"value":null}',
      '',
    ])
  })
})

describe('a last line truncated by a crash is removed', () => {
  test.each([
    ['an incomplete object', '{"n":1}\n{"n":', '{"n":1}\n'],
    ['a number, which may be incomplete', '1\n12', '1\n'],
    ['only an incomplete line', '{"n"', ''],
    ['a complete object without a line break', '{"n":1}\n{"n":2}', '{"n":1}\n{"n":2}\n'],
    ['a long incomplete line', `1\n"${'x'.repeat(200_000)}`, '1\n'],
    ['no incomplete line', '1\n', '1\n'],
  ])('jsonl: %s', async (_, before, after) => {
    const path = fresh()
    await written(config({ path }))
    writeFileSync(path, before)
    expect(await written(config({ path }), new Message('new'))).toBe(`${after}"new"\n`)
  })

  test('csv: an incomplete last line is always removed, and so is an incomplete header', async () => {
    const path = fresh('out.csv')
    await written(config({ path }), new Message({ a: 1, b: 2 }))
    appendFileSync(path, '3,4')
    expect(await written(config({ path }), new Message({ a: 5, b: 6 }))).toBe('a,b\n1,2\n5,6\n')
    writeFileSync(path, 'a,')
    expect(await written(config({ path }), new Message({ a: 1, c: 2 }))).toBe('a,c\n1,2\n')
  })
})

describe('a disk that fails during a write', () => {
  test('the partial output is removed before the next write, so that the retry is complete', async () => {
    const path = fresh()
    const sink = file.create(config({ path }), fakeContext('file'))
    await sink.open!(new AbortController().signal)
    await sink.write([new Message('before')], writeContext())

    const probe = await openFile(path, 'r')
    const handles = Object.getPrototypeOf(probe) as FileHandle
    await probe.close()
    const real = handles.write
    const full = vi.spyOn(handles, 'write').mockImplementationOnce(async function (this: FileHandle, bytes: any) {
      await (real as (...args: unknown[]) => Promise<unknown>).call(this, bytes, 0, 3)
      throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    } as never)
    const batch = [new Message('first'), new Message('second')]
    await expect(sink.write(batch, writeContext())).rejects.toMatchObject({ code: 'PIPE_CONNECTION', retryable: true })
    full.mockRestore()
    expect(text(path)).toBe('"before"\n"fi')

    await sink.write(batch, writeContext())
    await sink.close!()
    expect(text(path)).toBe('"before"\n"first"\n"second"\n')
  })
})

describe('CSV columns', () => {
  test('are those of the first record; missing fields are empty; a field without a column fails only its record', async () => {
    const path = fresh('out.csv')
    const sink = file.create(config({ path }), fakeContext('file'))
    await sink.open!(new AbortController().signal)
    const batch = [{ a: 1, b: { x: [1] } }, { a: 2, c: 3 }, { b: 'x,"y"' }, 'text', {}, new ExactNumber('1.10')].map(v => new Message(v))
    const error = await sink.write(batch, writeContext()).then(
      () => undefined,
      (e: unknown) => e as BatchError,
    )
    await sink.close!()
    expect(text(path)).toBe('a,b\n1,"{""x"":[1]}"\n,"x,""y"""\n')
    expect(error).toBeInstanceOf(BatchError)
    expect([...error!.failed].map(([i, e]) => [i, e.message])).toEqual([
      [1, `field 'c' is not a column of ${path} (a, b)`],
      [3, 'a CSV record must be an object with at least one field'],
      [4, 'a CSV record must be an object with at least one field'],
      [5, 'a CSV record must be an object with at least one field'],
    ])
  })

  test('are exactly those of the config, in that order', async () => {
    expect(await written(config({ path: fresh('out.csv'), columns: ['b', 'a'] }), new Message({ a: 1, b: 2, c: 3 }))).toBe('b,a\n2,1\n')
  })

  test('are those of the existing file, which must match the config', async () => {
    const path = fresh('out.csv')
    await written(config({ path }), new Message({ a: 1, b: 2 }))
    expect(await written(config({ path }), new Message({ b: 4, a: 3 }))).toBe('a,b\n1,2\n3,4\n')
    await expect(written(config({ path, columns: ['b', 'a'] }))).rejects.toMatchObject({
      code: 'PIPE_ENVIRONMENT',
      message: `${path} has the columns a, b, but columns is b, a; set columns to those of the file, or write to another file`,
    })
  })
})

describe('formulas', () => {
  const hostile = ['=1+1', '+1+1', '-2+3', '@SUM(A1)', '\t=1', '\r=1', '＝1', "'=1", "''=1"]
  const harmless = ['-5', '+1.5e3', 'a=b', "it's", "'quoted'", '', '1-1']
  const messages = [...hostile, ...harmless, -5, null].map(a => new Message({ '=n': a, b: 1 }))
  const cells = (text: string) =>
    new Splitter({ maxBytes: 1e6, csv: { delimiter: 44, quote: 34, backslash: false, preamble: 0 } })
      .push(Buffer.from(text))
      .map(line => parseRecord(line.bytes.toString(), standard(','))[0])

  test('escape: an apostrophe precedes each formula, also in the header, and the file can be appended to', async () => {
    const path = fresh('out.csv')
    const escaped = [...hostile.map(t => `'${t}`), ...harmless, '-5', '']
    await written(config({ path, formulas: 'escape' }), ...messages)
    expect(cells(await written(config({ path, formulas: 'escape' }), ...messages))).toEqual(["'=n", ...escaped, ...escaped])
  })

  test('keep (default): unchanged', async () => {
    expect(cells(await written(config({ path: fresh('out.csv') }), ...messages))).toEqual(['=n', ...hostile, ...harmless, '-5', ''])
  })
})

describe('paths that cannot be written', () => {
  test('a folder, and a file in place of a folder', async () => {
    await expect(written(config({ path: at('') }))).rejects.toMatchObject({ code: 'PIPE_ENVIRONMENT' })
    const path = fresh()
    await written(config({ path }))
    await expect(written(config({ path: `${path}/x` }))).rejects.toMatchObject({ code: 'PIPE_ENVIRONMENT' })
  })

  test('a device is written unchanged', async () => {
    const sink = file.create(config({ path: '/dev/null', fsync: 'always' }), fakeContext('file'))
    await sink.open!(new AbortController().signal)
    await sink.write([new Message(1)], writeContext())
    await sink.close!()
    const full = file.create(config({ path: '/dev/full' }), fakeContext('file'))
    await full.open!(new AbortController().signal)
    await expect(full.write([new Message(1)], writeContext())).rejects.toMatchObject({
      retryable: true,
      message: expect.stringContaining('ENOSPC'),
    })
    await full.close!()
  })
})

test.each<[Partial<FileSinkConfig>, string[]]>([
  [{}, []],
  [{ path: 'a.csv', columns: ['a'] }, []],
  [{ columns: ['a'] }, ['columns']],
  [{ path: 'a.csv', formulas: 'escape' }, []],
  [{ formulas: 'escape' }, ['formulas']],
  [{ path: 'a.csv', envelope: true }, ['envelope']],
  [{ delimiter: '\n' }, ['delimiter']],
])('check: %j', (o, paths) => expect(file.validateConfig!(config({ path: 'a.jsonl', ...o })).map(p => p.path.join('.'))).toEqual(paths))

test.each([
  ['dead.csv', ['path']],
  ['dead/{symbol}.jsonl', ['path']],
  ['dead/{hour}.jsonl', []],
  ['dead.txt', []],
])('as dlq, %s: a dead letter is bytes and headers', (path, paths) =>
  expect(file.validateConfig!(config({ path }), { dlq: true }).map(p => p.path.join('.'))).toEqual(paths),
)

test('a name with a compression extension is rejected: the file would hold plain lines', () => {
  for (const path of ['out.jsonl.gz', 'out/{hour}.csv.zst', 'x.GZ'])
    expect(file.validateConfig!(config({ path }))).toEqual([
      { path: ['path'], message: expect.stringContaining('does not compress'), suggestion: path.replace(/\.(gz|zst)$/i, '') },
    ])
  expect(file.validateConfig!(config({ path: 'out.jsonl' }))).toEqual([])
})
