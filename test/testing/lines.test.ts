/** `runner test` decodes what `runner run` decodes, with the same result. */
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { run, test as runTests } from '../../src/engine/index.ts'
import { tempDir } from '../support/runner.ts'

const pipeline = (source: string) => `name: p
sources: [{ file: ${source} }]
transforms: [{ filter: 'true' }]
sinks: [{ file: { path: FOLDER/out.jsonl } }]
dlq: { file: { path: FOLDER/dead.jsonl, envelope: true } }
`
const lines = (path: string): string[] => (existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : [])

const csv = 'symbol;price\r\nBTC;1,5\r\n"E""TH;\nX";2\r\nshort\r\n'
const cases: [string, string, string, string | Buffer][] = [
  ['JSON', '{ path: FOLDER/in.jsonl }', 'in.jsonl', '\ufeff{"a":1.10}\r\n\n{"a":\n{"b":9007199254740993}'],
  ['CSV with a header, quotes and an invalid line', '{ path: FOLDER/in.csv, delimiter: ";" }', 'in.csv', csv],
  [
    'CSV with columns, comments and a preamble',
    '{ path: FOLDER/x, format: csv, columns: [a, b], skip_lines: 1, comment: "#" }',
    'x',
    'made by me\n#no\n1,2\n',
  ],
  ['tabs selected by the file name', '{ path: FOLDER/in.tsv }', 'in.tsv', 'a\tb\n1\t2\n'],
  ['.log', '{ path: FOLDER/app.log }', 'app.log', '{"not":"json"} \nplain\n'],
  ['UTF-16', '{ path: FOLDER/in.csv, encoding: utf-16le }', 'in.csv', Buffer.from('\ufeffname\nZoë\n', 'utf16le')],
  ['Windows-1252', '{ path: FOLDER/in.csv, encoding: windows-1252 }', 'in.csv', Buffer.from([0x61, 0x0a, 0x80, 0x0a])],
  ['gzip', '{ path: FOLDER/in.csv.gz }', 'in.csv.gz', gzipSync('a\n1\n2\n')],
  ['zstd', '{ path: FOLDER/in.jsonl.zst }', 'in.jsonl.zst', zstdCompressSync('{"a":1}\n')],
  ['CR alone', '{ path: FOLDER/in.csv }', 'in.csv', 'a,b\r1,2\r3,4\r'],
]

describe('the lines of a file', () => {
  test.each(cases)('%s', async (_, source, name, content) => {
    const folder = tempDir({ [name]: content })
    writeFileSync(join(folder, 'p.yaml'), pipeline(source).replaceAll('FOLDER', folder))
    await (await run(join(folder, 'p.yaml'))).completed
    const [outputs, dead] = [lines(join(folder, 'out.jsonl')), lines(join(folder, 'dead.jsonl'))]
    expect(outputs.length).toBeGreaterThan(0)
    const letters = dead.map(line => {
      const { headers, value } = JSON.parse(line)
      return {
        error_type: headers.error_type,
        message: headers.error_message,
        raw: typeof value === 'string' ? value : JSON.stringify(value),
      }
    })
    writeFileSync(
      join(folder, 'p.test.yaml'),
      JSON.stringify({
        tests: [
          {
            name: 'same',
            steps: [{ input: [{ file: name }] }, { end: true }],
            expect: { outputs: outputs.map(o => ({ raw: source.includes('.log') ? JSON.parse(o) : o })), dead_letters: letters },
          },
        ],
      }),
    )
    const { tests } = await runTests(join(folder, 'p.test.yaml'))
    expect(tests.flatMap(t => t.failures)).toEqual([])
  })

  test('the lines can also be in the test; an invalid header stops the pipeline', async () => {
    const folder = tempDir({
      'p.yaml': pipeline('{ path: FOLDER/in.csv }'),
      'p.test.yaml': `tests:
  - name: rows
    steps: [ { input: [ { raw: "a,b\\n1,2\\n3\\n" }, { value: { a: "5", b: "6" }, key: k } ] } ]
    expect:
      outputs: [ { value: { a: "1", b: "2" } }, { value: { a: "5", b: "6" }, key: k } ]
      dead_letters: [ { error_type: decode, message: "line 3, column 2: 1 field, but the header has 2", raw: "3" } ]
  - name: header
    steps: [ { input: [ { raw: "a,a\\n1,2\\n" } ] } ]
    expect: { stops: "set header: rename" }
`,
    })
    expect((await runTests(join(folder, 'p.test.yaml'))).tests.flatMap(t => t.failures)).toEqual([])
  })

  test('a value that CSV cannot represent is a problem of the test', async () => {
    const folder = tempDir({
      'p.yaml': pipeline('in.csv'),
      'p.test.yaml':
        'tests:\n  - name: t\n    steps: [ { input: [ { value: { a: 1.5 } }, { values: [ x ] } ] } ]\n    expect: { outputs: [] }\n',
    })
    await expect(runTests(join(folder, 'p.test.yaml'))).rejects.toMatchObject({
      problems: [
        { line: 3, message: 'the column a is read as text from a CSV; write "1.5"' },
        { line: 3, message: /is a map of columns/ },
      ],
    })
  })
})
