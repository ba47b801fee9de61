/** `lookup_file`: rows of a local file, its reload, and files that cannot be used. */
import { renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import lookup from '../../../../src/connectors/file/transforms/lookup_file.ts'
import type { LookupFileConfig } from '../../../../src/generated/config-types.ts'
import { encodeJson, type Message, parseJson, type Transform } from '../../../../src/contract/plugin.ts'
import { VirtualClock } from '../../../../src/kit/clock.ts'
import { fakeContext } from '../../../../src/testing/conformance/context.ts'
import { messagesOf, runTransform, transformConformance } from '../../../conformance/transform.ts'
import { runRunner, tempDir } from '../../../support/runner.ts'

const configFor = (path: string, more: Partial<LookupFileConfig> = {}): LookupFileConfig => ({
  path,
  format: 'auto',
  column: 'id',
  key: 'id',
  as: 'row',
  many: false,
  on_missing: 'fail',
  reload: 5000,
  max_size: 1024 * 1024,
  max_line_size: 64 * 1024,
  quoting: 'double',
  trailing_delimiter: false,
  skip_lines: 0,
  line_break: 'auto',
  encoding: 'auto',
  ...more,
})
const table = (name: string, content: string | Buffer): string => join(tempDir({ [name]: content.toString() }), name)
const of = (...texts: string[]): Message[] => messagesOf(texts.map(text => ({ value: parseJson(text) })))
const shown = (messages: readonly Message[]): string[] => messages.map(m => encodeJson(m.value))

describe('rows', () => {
  test('CSV: text as written; a number finds the text of its shortest form', async () => {
    const path = table('t.csv', 'id,fee\n1,0.10\n007,x\n1.1,y\n')
    const run = await runTransform(lookup, configFor(path), [of('{"id":1}', '{"id":"007"}', '{"id":7}', '{"id":1.10}', '{"id":{}}', '[]')])
    expect(shown(run.out)).toEqual([
      '{"id":1,"row":{"id":"1","fee":"0.10"}}',
      '{"id":"007","row":{"id":"007","fee":"x"}}',
      '{"id":1.10,"row":{"id":"1.1","fee":"y"}}',
    ])
    expect(run.failures.map(f => f.error.message)).toEqual([
      'lookup_file: no row for key 7',
      expect.stringMatching(/the key must be text or a number/),
      expect.stringMatching(/the value must be an object/),
    ])
  })

  test('JSON Lines: numbers keep their digits, and equal numbers are one key', async () => {
    const rows = '{"id":1.10,"n":123456789012345678901.10}\n\n{"id":9007199254740993,"n":1e400}\n{"id":9007199254740992,"n":2}'
    const run = await runTransform(lookup, configFor(table('t.jsonl', rows)), [
      of('{"id":1.1}', '{"id":"1.1"}', '{"id":9007199254740993}', '{"id":9007199254740992}'),
    ])
    expect(shown(run.out)).toEqual([
      '{"id":1.1,"row":{"id":1.10,"n":123456789012345678901.10}}',
      '{"id":"1.1","row":{"id":1.10,"n":123456789012345678901.10}}',
      '{"id":9007199254740993,"row":{"id":9007199254740993,"n":1e400}}',
      '{"id":9007199254740992,"row":{"id":9007199254740992,"n":2}}',
    ])
  })

  test.each([
    ['fail', [], ['lookup_file: no row for key 2']],
    ['null', ['{"id":2,"row":null}'], []],
    ['pass', ['{"id":2}'], []],
  ] as const)('a missing key with on_missing: %s', async (on_missing, out, failures) => {
    const run = await runTransform(lookup, configFor(table('t.csv', 'id\n1\n'), { on_missing }), [of('{"id":2}')])
    expect(shown(run.out)).toEqual(out)
    expect(run.failures.map(f => f.error.message)).toEqual(failures)
  })

  test.each([
    ['t.csv', 'a.id,n\n1,x\n', '{"a.id":"1","n":"x"}'],
    ['t.jsonl', '{"a":{"id":1}}\n', '{"a":{"id":1}}'],
  ])('column a.id of %s', async (name, content, row) => {
    const run = await runTransform(lookup, configFor(table(name, content), { column: 'a.id' }), [of('{"id":1}')])
    expect(shown(run.out)).toEqual([`{"id":1,"row":${row}}`])
  })

  test('many: all rows of the key in the order of the file, or an empty list', async () => {
    const path = table('t.csv', 'id;n\n1;a\n2;b\n1;c\n')
    const run = await runTransform(lookup, configFor(path, { many: true, delimiter: 'semicolon' }), [of('{"id":1}', '{"id":3}')])
    expect(shown(run.out)).toEqual(['{"id":1,"row":[{"id":"1","n":"a"},{"id":"1","n":"c"}]}', '{"id":3,"row":[]}'])
  })
})

describe('files that cannot be used are rejected before the first record, with the line', () => {
  test.each([
    ['t.csv', 'id,n\n1,a\n2\n', /t\.csv, line 3: column 2: 1 field, but the header has 2/],
    ['t.csv', 'id,n\n1,a\n\n1,b\n', /line 4: id "1" is in line 2 already: .*many: true/],
    ['t.csv', '', /t\.csv is empty: it has no header line/],
    ['t.csv', 'name\n', /t\.csv has no column id; it has name/],
    ['t.csv', 'name\na\n', /line 2: there is no id; the row has name/],
    ['t.csv', 'id,n\n1,"a\n', /line 2: .*never closed/],
    ['t.jsonl', '{"id":1}\n{"id":', /line 2: /],
    ['t.jsonl', '{"id":1}\n[1]\n', /line 2: a row must be an object/],
    ['t.jsonl', '{"id":1}\n{"id":null}\n', /line 2: id must be text or a number, not null/],
    ['t.jsonl', '{"id":1.1}\n{"id":1.10}\n', /line 2: id "1\.1" is in line 1 already/],
    ['t.jsonl', `{"id":"${'x'.repeat(70_000)}"}\n`, /line 1: the line has \d+ bytes, more than max_line_size/],
    ['t.jsonl', `{"id":"${'x'.repeat(1024)}"}\n`.repeat(1100), /more than 1048576 bytes \(max_size\).*raise max_size/],
    ['t.jsonl', '\x1f\x8b', /compressed|line 1/],
  ])('%s %j', async (name, content, message) => {
    await expect(runTransform(lookup, configFor(table(name, content)), [])).rejects.toThrow(message)
  })

  test.each([
    ['missing.csv', /cannot read the table .*missing\.csv: the file or its folder does not exist/],
    ['.', /cannot read the table .*: it is a (directory|folder)/],
  ])('%s', async (name, message) => {
    const path = join(tempDir({}), name)
    await expect(runTransform(lookup, configFor(path), [])).rejects.toThrow(message)
    expect(await lookup.check!(configFor(path), {} as never)).toMatchObject([{ ok: false, detail: expect.stringMatching(message) }])
  })

  test('as a process: exit code 3, and nothing is written', async () => {
    const cwd = tempDir({
      'in.jsonl': '{"id":1}\n',
      'p.yaml':
        'name: p\nsources: [ file: in.jsonl ]\ntransforms: [ { lookup_file: { path: no.csv, column: id, key: id, as: row } } ]\nsinks: [ stdout: {} ]\n',
    })
    const { code, stdout, stderr } = await runRunner(['run', 'p.yaml'], { cwd })
    expect(stderr).toMatch(/cannot read the table no\.csv: the file or its folder does not exist/)
    expect([code, stdout]).toEqual([3, ''])
  })
})

describe('reload', () => {
  const setup = async (content = 'id,n\n1,a\n') => {
    const path = table('t.csv', content)
    const clock = new VirtualClock(0)
    const logged: string[] = []
    const context = fakeContext('enrich', clock)
    const note = (_: object, text: string): void => void logged.push(text)
    const shared = new Map<string, unknown>()
    const make = (): Transform =>
      lookup.create(configFor(path), {
        ...context,
        log: { ...context.log, warn: note },
        lane: { id: 'a', source: 'in' },
        state: () => undefined as never,
        shared: <T>(name: string, build: () => T): T => {
          if (!shared.has(name)) shared.set(name, build())
          return shared.get(name) as T
        },
        watermark: () => {},
      })
    const transform = make()
    await transform.open!()
    let stamp = 1_000_000_000
    /** The time of the file changes with each write, however fast the test is. */
    const write = (text: string): void => {
      writeFileSync(`${path}.new`, text)
      utimesSync(`${path}.new`, ++stamp, stamp)
      renameSync(`${path}.new`, path)
    }
    /** What one record finds after `ms`. */
    const after = async (ms: number, by = transform): Promise<string> => {
      clock.step(clock.now() + ms)
      let found = ''
      await by.process(of('{"id":1}'), {
        emit: m => void (found = (m.value as { row: { n: string } }).row.n),
        emitTo: () => {},
        fail: (_, error) => void (found = error.message),
      })
      return found
    }
    const pass = (ms: number): void => void clock.step(clock.now() + ms)
    return { path, transform, make, logged, write, after, pass }
  }

  test('a changed file is used after two checks that see the same content, by all lanes', async () => {
    const { write, after, make } = await setup()
    const second = make()
    await second.open!()
    write('id,n\n1,b\n')
    expect(await after(4999)).toBe('a')
    expect(await after(1)).toBe('a')
    write('id,n\n1,c\n')
    expect(await after(1000)).toBe('a')
    expect(await after(1000)).toBe('c')
    expect(await after(0, second)).toBe('c')
  })

  test('a version of the same size and mtime is found, also where it has the same inode', async () => {
    const { path, write, after } = await setup()
    write('id,n\n1,b\n')
    await after(5000)
    expect(await after(1000)).toBe('b')
    const { atime, mtime, ctimeNs } = statSync(path, { bigint: true })
    // The clock of the file system may have ticks of several ms.
    do {
      writeFileSync(path, 'id,n\n1,c\n')
      utimesSync(path, atime, mtime)
    } while (statSync(path, { bigint: true }).ctimeNs === ctimeNs)
    await after(5000)
    expect(await after(1000)).toBe('c')
  })

  test('a broken version keeps the earlier rows, is logged once, and is a reason not to be ready until it is corrected', async () => {
    const { write, after, transform, logged } = await setup()
    write('id,n\n1\n')
    await after(5000)
    expect(await after(1000)).toBe('a')
    for (let i = 0; i < 5; i++) expect(await after(5000)).toBe('a')
    expect(logged).toEqual([expect.stringMatching(/t\.csv, line 2: .*; the rows of the earlier version are used$/)])
    expect(transform.healthy!()).toBe(logged[0])
    write('id,n\n1,d\n')
    await after(5000)
    expect(await after(1000)).toBe('d')
    expect(transform.healthy!()).toBe(true)
  })

  test('a removed file keeps its rows and is a reason until it is back', async () => {
    const { path, write, after, transform, logged } = await setup()
    rmSync(path)
    expect(await after(5000)).toBe('a')
    expect(await after(5000)).toBe('a')
    expect(transform.healthy!()).toMatch(/does not exist.*; the rows of the earlier version are used$/)
    expect(logged).toHaveLength(1)
    write('id,n\n1,e\n')
    await after(5000)
    expect(await after(1000)).toBe('e')
    expect(transform.healthy!()).toBe(true)
  })

  test('an idle lane finds the broken version too', async () => {
    const { write, transform, pass } = await setup()
    write('x')
    const idle = (): unknown => {
      pass(5000)
      transform.onIdle!(1, undefined as never)
      return transform.healthy!()
    }
    await expect.poll(idle).toMatch(/no column id/)
  })
})

test('validate: columns, format and many', () => {
  const problems = (more: Partial<LookupFileConfig>): string[] =>
    lookup.validateConfig!(configFor('t.csv', more)).map(p => `${p.path.join('.')}: ${p.message}`)
  expect(problems({})).toEqual([])
  expect(problems({ columns: ['a', 'b'] })).toEqual(['column: is not one of columns: a, b'])
  expect(problems({ as: 'a.b' })).toEqual(['as: must be the name of a field, not a path'])
  expect(problems({ many: true, on_missing: 'null' })).toHaveLength(1)
  expect(problems({ path: 't.txt' })).toEqual(['format: a line of text has no columns; use csv or jsonl'])
  expect(problems({ format: 'jsonl', header: 'rename' })).toHaveLength(1)
})

transformConformance(
  'lookup_file',
  lookup,
  configFor(table('t.jsonl', '{"id":1,"a":1}\n{"id":"x","a":2}\n'), { on_missing: 'null' }),
  fc.array(fc.record({ value: fc.oneof(fc.record({ id: fc.constantFrom(1, 2, 'x', 'y', null) }), fc.json()) }), { maxLength: 20 }),
)
