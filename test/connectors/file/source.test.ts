import { appendFileSync, mkdirSync, renameSync, truncateSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { FileSourceConfig } from '../../../src/generated/config-types.ts'
import { formatRecord } from '../../../src/kit/lines/csv.ts'
import file from '../../../src/connectors/file/source.ts'
import type { Batch, Position, Source } from '../../../src/contract/plugin.ts'
import { fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { readAll, sourceConformance } from '../../conformance/source.ts'
import { scratch, sourceConfig as config } from './scratch.ts'
import { eventually } from '../../support/eventually.ts'

const at = scratch()
let count = 0
const fresh = (name = 'in.jsonl') => at(`${count++}-${name}`)
const write = (name: string, text: string | Buffer): string => {
  const path = fresh(name)
  writeFileSync(path, text)
  return path
}
const lines = (records: readonly string[]) => records.map(r => `${r}\n`).join('')

sourceConformance('file, jsonl', {
  plugin: file,
  prepare: async records => ({ config: config({ path: write('in.jsonl', lines(records)) }) }),
  prepareEndless: async () => config({ path: write('in.jsonl', ''), follow: true }),
})

sourceConformance('file, several as lanes', {
  plugin: file,
  async prepare(records) {
    const folder = fresh('several')
    mkdirSync(folder)
    const third = Math.ceil(records.length / 3)
    for (const i of [0, 1, 2]) writeFileSync(`${folder}/${i}.jsonl`, lines(records.slice(i * third, (i + 1) * third)))
    return { config: config({ path: `${folder}/*.jsonl` }) }
  },
})

sourceConformance('file, csv', {
  plugin: file,
  async prepare(records) {
    const rows = records.map(r => JSON.parse(r) as { n: number; text: string }).map(({ n, text }) => [String(n), `${text}\n"${n}"`])
    const text = lines([['n', 'text'], ...rows].map(r => formatRecord(r, ';')))
    return {
      config: config({ path: write('in.csv', text), delimiter: ';' }),
      expected: rows.map(([n, t]) => JSON.stringify({ n, text: t })),
    }
  },
})

sourceConformance('file, text', {
  plugin: file,
  prepare: async records => ({ config: config({ path: write('in.log', lines(records)) }) }),
})

async function open(c: FileSourceConfig, positions?: ReadonlyMap<string, Position>) {
  const ctx = fakeSourceContext('file', positions)
  const source = file.create(c, ctx)
  await source.open!(new AbortController().signal)
  return { source, ctx }
}
/** The output of a run over this file: [offset, value or error]. */
async function contents(c: FileSourceConfig): Promise<[number, unknown][]> {
  const { source } = await open(c)
  const messages = (await readAll(source)).flatMap(b => b.messages)
  await source.close!()
  return messages.map(m => [m.offset, m.failure ? m.failure.message : m.changed ? m.value : m.payload!.toString()])
}

describe('lines', () => {
  test('blank lines are skipped but counted; CRLF, a BOM and a missing last line break are accepted', async () => {
    expect(await contents(config({ path: write('a.jsonl', '\ufeff{"n":1}\r\n\r\n  \n{"n":2}\n\n{"n":3}') }))).toEqual([
      [1, '{"n":1}'],
      [4, '{"n":2}'],
      [6, '{"n":3}'],
    ])
  })

  test('bytes that are not UTF-8 or not JSON pass unchanged: the source does not decode', async () => {
    const bytes = Buffer.from([0x7b, 0xff, 0x0a, 0x7b, 0x0a])
    const { source } = await open(config({ path: write('a.jsonl', bytes) }))
    const messages = (await readAll(source)).flatMap(b => b.messages)
    expect(messages.map(m => m.encode())).toEqual([Buffer.from([0x7b, 0xff]), Buffer.from('{')])
    await source.close!()
  })

  test('a line that is too long fails with its first bytes; the next one is read', async () => {
    const c = config({ path: write('a.jsonl', `"${'x'.repeat(3_000_000)}"\n"short"\n`), max_line_size: 1000 })
    expect(await contents(c)).toEqual([
      [1, 'the line has 3000002 bytes, more than max_line_size (1000); only the first 1000 are here'],
      [2, '"short"'],
    ])
    const { source } = await open(c)
    expect((await source.read(new AbortController().signal))!.messages[0].payload).toHaveLength(1000)
    await source.close!()
  })

  test('a line longer than several chunks is complete', async () => {
    const long = JSON.stringify('é'.repeat(400_000))
    expect(await contents(config({ path: write('a.jsonl', `${long}\n1\n`) }))).toEqual([
      [1, long],
      [2, '1'],
    ])
  })

  test('the time of a message is the time it was read', async () => {
    const { source, ctx } = await open(config({ path: write('a.jsonl', '1\n') }))
    ctx.clock.step(2_000_000)
    expect((await readAll(source))[0].messages[0].time).toBe(2_000_000)
    await source.close!()
  })
})

describe('CSV', () => {
  test('records become objects of strings, with the line as payload and offset', async () => {
    const path = write('a.csv', 'symbol, price\nA,1.50\n\n"B ""x""","2\n3"\nC,4\n')
    expect(await contents(config({ path }))).toEqual([
      [2, { symbol: 'A', price: '1.50' }],
      [4, { symbol: 'B "x"', price: '2\n3' }],
      [6, { symbol: 'C', price: '4' }],
    ])
    const { source } = await open(config({ path }))
    const [{ messages }] = await readAll(source)
    expect(messages[1].payload!.toString()).toBe('"B ""x""","2\n3"')
    await source.close!()
  })

  test('invalid records fail one by one', async () => {
    const path = write(
      'a.csv',
      Buffer.concat([Buffer.from('a,b\n1\n1,2,3\n"x"y,2\n'), Buffer.from([0xff, 0x2c, 0x31, 0x0a]), Buffer.from('1,2\n')]),
    )
    expect(await contents(config({ path }))).toEqual([
      [2, 'line 2, column 2: 1 field, but the header has 2'],
      [3, 'line 3, column 5: 3 fields, but the header has 2'],
      [4, 'line 4, column 4: field 1: unexpected text after the closing quote'],
      [5, 'line 5, column 1: not valid UTF-8; if the file comes from Excel, set encoding: windows-1252'],
      [6, { a: '1', b: '2' }],
    ])
  })

  test('columns: replaces a header line', async () => {
    expect(await contents(config({ path: write('a.csv', '1,2\n'), columns: ['a', '__proto__'] }))).toEqual([
      [
        1,
        Object.fromEntries([
          ['a', '1'],
          ['__proto__', '2'],
        ]),
      ],
    ])
  })

  test.each([
    ['a,b,a\n1,2,3\n', 'line 1, column 5: columns 1 and 3 are both named "a": set header: rename to name it "a_2"'],
    ['a,,b\n', 'line 1, column 3: column 2 has no name: set header: rename to name it "column_2", or columns: [...] with header: skip'],
    ['"a,b\n', 'the header line is not valid CSV'],
  ])('the header %j is rejected', async (text, message) => {
    const { source } = await open(config({ path: write('a.csv', text) }))
    await expect(readAll(source)).rejects.toThrow(message)
    await source.close!()
  })
})

describe('missing input', () => {
  const failing = async (path: string) => {
    const { source } = await open(config({ path }))
    return await readAll(source)
  }
  test('a missing file, a folder, a pattern without a match', async () => {
    await expect(failing(at('nowhere'))).rejects.toMatchObject({
      code: 'PIPE_ENVIRONMENT',
      message: expect.stringContaining('the file does not exist'),
    })
    await expect(failing(at(''))).rejects.toMatchObject({ code: 'PIPE_ENVIRONMENT' })
    await expect(open(config({ path: at('*.nothing') }))).rejects.toMatchObject({
      code: 'PIPE_ENVIRONMENT',
      message: expect.stringContaining('no file matches'),
    })
  })
})

describe('continuing', () => {
  const positionOf = (batches: readonly Batch[]) => new Map(batches.map(b => [b.lane, b.position]))

  test('reads lines appended after the first run', async () => {
    const path = write('a.jsonl', '1\n2\n')
    const first = await open(config({ path }))
    const position = positionOf(await readAll(first.source))
    appendFileSync(path, '3\n')
    const { source, ctx } = await open(config({ path }), position)
    expect((await readAll(source)).flatMap(b => b.messages.map(m => [m.offset, m.value]))).toEqual([[3, 3]])
    expect(ctx.warnings).toEqual([])
    await first.source.close!()
    await source.close!()
  })

  test.each([
    ['another file of the same length', '7\n8\n'],
    ['a shorter file', '7\n'],
  ])('on %s: from its beginning, after a gap', async (_, text) => {
    const path = write('a.jsonl', '1\n2\n')
    const first = await open(config({ path }))
    const position = positionOf(await readAll(first.source))
    await first.source.close!()
    writeFileSync(path, text)
    const { source, ctx } = await open(config({ path }), position)
    const batches = await readAll(source)
    expect(batches.flatMap(b => b.messages.map(m => m.value))).toEqual(text.trim().split('\n').map(Number))
    expect(batches.flatMap(b => b.gap?.reason ?? [])).toEqual([expect.stringContaining('was replaced since the checkpoint')])
    expect(batches[0].messages).toEqual([])
    expect(ctx.warnings).toEqual([])
    await source.close!()
  })
})

describe('follow', () => {
  const { signal } = new AbortController()
  const next = async (source: Source) => (await source.read(signal))!.messages.map(m => [m.offset, m.payload!.toString()])

  test('reads more lines, partial lines and a file created later', async () => {
    const path = fresh()
    const { source } = await open(config({ path, follow: true }))
    const waiting = next(source)
    await eventually(() => expect(source.caughtUp!(path)).toBe(true), { interval: 1 })
    writeFileSync(path, 'a\nb')
    expect(await waiting).toEqual([[1, 'a']])
    const half = next(source)
    appendFileSync(path, 'c\nd\n')
    expect(await half).toEqual([
      [2, 'bc'],
      [3, 'd'],
    ])
    await source.close!()
  })

  test('reads a new file of the same name after the rest of the old one', async () => {
    const path = write('a.log', 'old 1\nold 2')
    const { source, ctx } = await open(config({ path, follow: true }))
    expect(await next(source)).toEqual([[1, 'old 1']])
    appendFileSync(path, '\nold 3')
    renameSync(path, `${path}.1`)
    writeFileSync(path, 'new 1\n')
    expect([...(await next(source)), ...(await next(source))]).toEqual([
      [2, 'old 2'],
      [3, 'old 3'],
    ])
    const batch = (await source.read(signal))!
    expect(batch.messages.map(m => [m.offset, m.payload!.toString()])).toEqual([[1, 'new 1']])
    await source.close!()
    const again = await open(config({ path, follow: false }), new Map([[path, batch.position]]))
    expect(await readAll(again.source)).toEqual([])
    expect([...ctx.warnings, ...again.ctx.warnings]).toEqual([])
    await again.source.close!()
  })

  test('reads a truncated file from its beginning, after a gap', async () => {
    const path = write('a.log', 'one\ntwo\n')
    const { source } = await open(config({ path, follow: true }))
    await next(source)
    truncateSync(path)
    appendFileSync(path, '1\n')
    expect((await source.read(signal))!.gap!.reason).toContain('was truncated')
    expect(await next(source)).toEqual([[1, '1']])
    await source.close!()
  })
})

describe('check', () => {
  test.each<[Partial<FileSourceConfig>, string[]]>([
    [{}, []],
    [{ path: 'a.csv', columns: ['a'] }, []],
    [{ path: 'a.csv', columns: ['a'], header: 'skip' }, []],
    [{ path: 'a.csv', columns: ['a', 'a'], header: 'none' }, ['columns.1']],
    [{ path: 'a.csv', columns: ['a'], header: 'names' }, ['header']],
    [{ path: 'a.csv', header: 'skip' }, ['header']],
    [{ path: 'a.csv', delimiter: 'tab', quote: '\t' }, ['quote']],
    [{ path: 'a.csv', quoting: 'none', quote: "'" }, ['quote']],
    [{ path: 'a.csv.gz', follow: true }, ['follow']],
    [
      { header: 'rename', quoting: 'none', skip_lines: 1, comment: '#', trailing_delimiter: true },
      ['header', 'quoting', 'trailing_delimiter', 'skip_lines', 'comment'],
    ],
    [{ columns: ['a'] }, ['columns']],
    [{ delimiter: ';;' }, ['delimiter']],
    [{ delimiter: '"' }, ['delimiter']],
    [{ max_line_size: 0 }, ['max_line_size']],
  ])('%j', (o, paths) => expect(file.validateConfig!(config({ path: 'a.jsonl', ...o })).map(p => p.path.join('.'))).toEqual(paths))
})
