/** CSV as other programs write it. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import file from '../../../src/connectors/file/source.ts'
import type { FileSourceConfig } from '../../../src/generated/config-types.ts'
import { fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { readAll } from '../../conformance/source.ts'
import { scratch, sourceConfig } from './scratch.ts'

const at = scratch()
let count = 0
type Options = Partial<FileSourceConfig>
async function read(content: string | Buffer, o: Options = {}, name = 'in.csv'): Promise<unknown[]> {
  const path = at(`${count++}-${name}`)
  writeFileSync(path, content)
  return readPath(path, o)
}
async function readPath(path: string, o: Options): Promise<unknown[]> {
  const config = sourceConfig({ path, ...o })
  const ctx = fakeSourceContext('file')
  const source = file.create(config, ctx)
  await source.open!(new AbortController().signal)
  try {
    const batches = await readAll(source)
    const messages = batches.flatMap(b => b.messages)
    // Any encoding and line breaks: a restart after a batch reads the following records.
    for (const [i, { position }] of batches.entries()) {
      const again = file.create(config, fakeSourceContext('file', new Map([[path, position]])))
      await again.open!(new AbortController().signal)
      const rest = (await readAll(again)).flatMap(b => b.messages)
      expect(rest.map(m => [m.offset, m.payload])).toEqual(batches.slice(i + 1).flatMap(b => b.messages.map(m => [m.offset, m.payload])))
      await again.close!()
    }
    return messages.map(m => m.failure?.message ?? m.value)
  } finally {
    await source.close!()
  }
}
const ab = [{ a: '1', b: '2' }]

describe('header', () => {
  test('unnamed and duplicate columns: an error with a fix, or renamed', async () => {
    const pandas = ',symbol,price\n0,BTC,1.5\n'
    await expect(read(pandas)).rejects.toThrow(
      /line 1, column 1: column 1 has no name: set header: rename to name it "column_1", or columns: \[...\]/,
    )
    expect(await read(pandas, { header: 'rename' })).toEqual([{ column_1: '0', symbol: 'BTC', price: '1.5' }])
    expect(await read(pandas, { header: 'skip', columns: ['i', 's', 'p'] })).toEqual([{ i: '0', s: 'BTC', p: '1.5' }])
    expect(await read('a,a,,a,a_2\n1,2,3,4,5\n', { header: 'rename' })).toEqual([{ a: '1', a_3: '2', column_3: '3', a_4: '4', a_2: '5' }])
  })

  test('no header: columns by number, or from the config', async () => {
    expect(await read('1,2\n3,4\n', { header: 'none' })).toEqual([
      { column_1: '1', column_2: '2' },
      { column_1: '3', column_2: '4' },
    ])
    expect(await read('1,2\n', { columns: ['a', 'b'] })).toEqual(ab)
  })

  test('a line may end with a delimiter', async () => {
    await expect(read('a,b,\n1,2,\n')).rejects.toThrow('trailing_delimiter: true')
    expect(await read('a,b\n1,2,\n')).toEqual([
      'line 2, column 5: 3 fields, but the header has 2; if every line ends with a delimiter, set trailing_delimiter: true',
    ])
    expect(await read('a,b,\n1,2,\n3,4\n', { trailing_delimiter: true })).toEqual([
      ...ab,
      'line 3, column 4: the line does not end with a delimiter, although trailing_delimiter is set',
    ])
  })

  test('a wrong number of fields is reported at the first extra field, or at the end where the next is missing', async () => {
    expect(await read('a,b\n1,"x,y\nz",3\n"1\n2"\r\n4\n')).toEqual([
      'line 3, column 4: 3 fields, but the header has 2',
      'line 5, column 3: 1 field, but the header has 2',
      'line 6, column 2: 1 field, but the header has 2',
    ])
  })

  test('an unexpected delimiter is detected at the header', async () => {
    await expect(read('date;amount\n2026-01-01;1,50\n')).rejects.toThrow(/line 1, column 1: .*set delimiter: semicolon/)
    for (const [delimiter, c] of [
      ['semicolon', ';'],
      ['tab', '\t'],
      ['pipe', '|'],
      ['space', ' '],
      ['comma', ','],
      ['colon', ':'],
      ['~', '~'],
    ])
      expect(await read(`a${c}b\n1${c}2\n`, { delimiter })).toEqual(ab)
    expect(await read('a\tb\n1\t2\n', {}, 'in.tsv')).toEqual(ab)
  })
})

describe('lines', () => {
  test('a preamble and comments may contain quotes', async () => {
    const bank = 'Account: "12345\nPeriod, "2026\n\ndate;amount\n2026-01-01;1,50\n'
    expect(await read(bank, { skip_lines: 3, delimiter: ';' })).toEqual([{ date: '2026-01-01', amount: '1,50' }])
    expect(await read('# a,"b\na,b\n#,"\n1,2\n"#",4\n', { comment: '#' })).toEqual([...ab, { a: '#', b: '4' }])
  })

  test.each(['\n', '\r\n', '\r'])('line breaks: %j', async eol => {
    const text = `a,b${eol}1,2${eol}"x${eol}y","z\nw"${eol}5,6`
    expect(await read(text)).toEqual([...ab, { a: `x${eol}y`, b: 'z\nw' }, { a: '5', b: '6' }])
    expect(await read(`{"a":1}${eol}{"a":2}${eol}`, {}, 'in.jsonl')).toEqual([{ a: 1 }, { a: 2 }])
  })

  test('a record may end with a lone CR; text keeps CRs unless line_break is set', async () => {
    expect(await read('a,b\r1,2\r')).toEqual(ab)
    expect(await read('50%\r100%\n', {}, 'in.txt')).toEqual(['50%\r100%'])
    expect(await read('x\ry\r', { line_break: 'cr' }, 'in.txt')).toEqual(['x', 'y'])
  })

  test('an unclosed quote is reported with its position', async () => {
    expect(await read('a,b\n1,2\n3,"4\n5,6\n7,8\n')).toEqual([
      ...ab,
      'line 3, column 3: field 2 starts with a quote that is never closed; the record continues to line 5',
    ])
  })

  test('quoting', async () => {
    expect(await read('a,b\n"x\\"y\\\\","\\n\n"\n', { quoting: 'backslash' })).toEqual([{ a: 'x"y\\', b: '\\n\n' }])
    expect(await read('a,b\n"x,5"\n', { quoting: 'none' })).toEqual([{ a: '"x', b: '5"' }])
    expect(await read("a,b\n'x,''y\n',\"5\n", { quote: "'" })).toEqual([{ a: "x,'y\n", b: '"5' }])
  })
})

describe('encodings', () => {
  // The output of iconv, an independent implementation.
  const iconv = (text: string, to: string): Buffer => execFileSync('iconv', ['-f', 'utf-8', '-t', to], { input: text })
  const text = 'name,city\n"Ærø, ""ö""",Straße\nZoë,São\n'
  const rows = [
    { name: 'Ærø, "ö"', city: 'Straße' },
    { name: 'Zoë', city: 'São' },
  ]

  test.each([
    ['utf-16le', 'UTF-16LE'],
    ['utf-16be', 'UTF-16BE'],
    ['windows-1252', 'WINDOWS-1252'],
    ['latin1', 'ISO-8859-1'],
  ] as const)('%s', async (encoding, name) => {
    expect(await read(iconv(text, name), { encoding })).toEqual(rows)
  })

  test('characters that only one encoding has', async () => {
    expect(await read(iconv('a,b\n€,“x”\n', 'WINDOWS-1252'), { encoding: 'windows-1252' })).toEqual([{ a: '€', b: '“x”' }])
    expect(await read(iconv('a,b\n😀,漢\n', 'UTF-16LE'), { encoding: 'utf-16le' })).toEqual([{ a: '😀', b: '漢' }])
    expect(await read(Buffer.from([0x61, 0x0a, 0x80, 0x0a]), { encoding: 'latin1' })).toEqual([{ a: '\u0080' }])
  })

  test('a byte order mark selects UTF-16, or UTF-8 before a quoted header', async () => {
    for (const name of ['UTF-16LE', 'UTF-16BE']) expect(await read(iconv(`\ufeff${text}`, name))).toEqual(rows)
    expect(await read('\ufeff"a","b\nc"\n1,2\n')).toEqual([{ a: '1', 'b\nc': '2' }])
  })

  test('invalid bytes are an error with a fix, or fail that record', async () => {
    await expect(read(iconv('a,b\n', 'UTF-16LE'))).rejects.toThrow('set encoding: utf-16le')
    await expect(read(Buffer.from([0xff, 0xfe, 0x61, 0]), { encoding: 'utf-8' })).rejects.toThrow('set encoding: utf-16le')
    await expect(read(iconv('ü,b\n1,2\n', 'WINDOWS-1252'))).rejects.toThrow(
      /line 1, column 1: not valid UTF-8; .*set encoding: windows-1252/,
    )
    const half = Buffer.concat([iconv('a,b\nx', 'UTF-16LE'), Buffer.from([0x00, 0xd8]), iconv(',1\n1,2\n', 'UTF-16LE')])
    expect(await read(half, { encoding: 'utf-16le' })).toEqual(['line 2, column 2: not valid utf-16le', ...ab])
    expect(await read(Buffer.concat([iconv('a\n1', 'UTF-16LE'), Buffer.from([0x32])]), { encoding: 'utf-16le' })).toEqual([
      'line 2, column 2: not valid utf-16le',
    ])
  })

  test('a NUL in a field, a header or a quoted line break is data', async () => {
    for (const at of ['1,\x002', '"1\n\0",2', '\0'])
      expect(await read(`a,b\n${at}\n1,2\n`)).toEqual([expect.anything(), { a: '1', b: '2' }])
    expect(await read('a\0,b\n1,2\n')).toEqual([{ 'a\0': '1', b: '2' }])
  })

  test('any text, split at any byte, is equal in each encoding', async () => {
    const { Transcoder } = await import('../../../src/kit/lines/encoding.ts')
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 30 }), fc.array(fc.nat(60), { maxLength: 5 }), fc.boolean(), (s, cuts, big) => {
        const bytes = Buffer.from(s, 'utf16le')
        if (big) bytes.swap16()
        const transcoder = new Transcoder(big ? 'utf-16be' : 'utf-16le')
        const edges = [0, ...cuts.map(c => Math.min(c, bytes.length)).toSorted((a, b) => a - b), bytes.length]
        const out = edges.slice(1).map((end, i) => Buffer.from(transcoder.push(bytes.subarray(edges[i], end))))
        expect(Buffer.concat([...out, transcoder.end()])).toEqual(Buffer.from(s))
      }),
    )
  })
})

describe('compressed', () => {
  const text = `n,text\n${Array.from({ length: 50_000 }, (_, i) => `${i},"row ${i}\n"`).join('\n')}\n`

  test.each([
    ['gz', gzipSync(text)],
    ['zst', zstdCompressSync(text)],
  ])('.%s, also after a restart', async (extension, bytes) => {
    const rows = await read(bytes, {}, `in.csv.${extension}`)
    expect(rows).toHaveLength(50_000)
    expect(rows.at(-1)).toEqual({ n: '49999', text: 'row 49999\n' })
  })

  test('several members are read, by file name or by setting; a truncated one stops the pipeline', async () => {
    const two = Buffer.concat([gzipSync('a,b\n1,2\n'), gzipSync('3,4\n')])
    expect(await read(two, { compression: 'gzip' }, 'in.csv')).toEqual([...ab, { a: '3', b: '4' }])
    expect(await read(gzipSync('{"a":1}\n'), {}, 'in.gz')).toEqual([{ a: 1 }])
    await expect(read(two.subarray(0, -5), {}, 'in.csv.gz')).rejects.toMatchObject({
      code: 'PIPE_ENVIRONMENT',
      message: expect.stringContaining('as gzip'),
    })
    await expect(read('a,b\n', {}, 'in.csv.gz')).rejects.toThrow('as gzip')
  })
})

describe('compressed data under another name', () => {
  const packed = { gzip: gzipSync('a,b\n1,2\n'), zstd: zstdCompressSync('a,b\n1,2\n') }
  test.each(Object.entries(packed))('%s is reported with the setting to change, whatever the format', async (compression, bytes) => {
    for (const name of ['in.csv', 'in.jsonl', 'in.log'])
      await expect(read(bytes, {}, name)).rejects.toThrow(
        `${name} holds data compressed with ${compression}: set compression: ${compression}`,
      )
    expect(await read(bytes, { compression: compression as 'gzip' })).toEqual(ab)
  })

  test('text with a similar beginning is read', async () => {
    expect(await read('(\n', {}, 'in.txt')).toEqual(['('])
    expect(await read('(\u00b5/', {}, 'in.txt')).toEqual(['(\u00b5/'])
    expect(await read('\x1f', {}, 'in.txt')).toEqual(['\x1f'])
  })
})
