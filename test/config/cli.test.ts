/** The commands as a user runs them, launcher included. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Ajv } from 'ajv'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const RUNNER = resolve(import.meta.dirname, '../../bin/runner.js')
let folder: string

interface Result {
  readonly code: number
  readonly out: string
  readonly err: string
}

function runner(args: string[], env: Record<string, string> = {}): Promise<Result> {
  return new Promise(done => {
    execFile(
      process.execPath,
      [RUNNER, ...args],
      { cwd: folder, env: { ...process.env, KAFKA_BROKERS: 'embedded', NO_COLOR: '1', ...env } },
      (error, out, err) => done({ code: error ? Number(error.code) : 0, out, err }),
    )
  })
}

const GOOD = `name: good
sources: [{ memory: { channel: a } }]
sinks: [{ stdout: {} }]
`
const BAD = `name: bad
sources: [{ memory: { chanel: a } }]
transforms:
  - filter: price > nope(1)
sinks: [{ stdout: {} }]
commit_interval: 5 sec
`
const OLD = `name: old
sources: [{ kafka: { topics: [t], ssl_ca: x.pem } }]
sinks: [{ stdout: {} }]
`

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cli-'))
  mkdirSync(join(folder, 'dir/deep'), { recursive: true })
  mkdirSync(join(folder, 'empty'))
  writeFileSync(join(folder, 'good.yaml'), GOOD)
  writeFileSync(join(folder, 'bad.yaml'), BAD)
  writeFileSync(join(folder, 'old.yaml'), OLD)
  writeFileSync(join(folder, 'dir/one.yaml'), GOOD)
  writeFileSync(join(folder, 'dir/deep/two.yml'), GOOD.replace('good', 'two'))
  mkdirSync(join(folder, 'same'))
  for (const name of ['a', 'b']) writeFileSync(join(folder, `same/${name}.yaml`), GOOD)
  writeFileSync(join(folder, 'same/c.yaml'), `${GOOD}version: 2\n`)
  writeFileSync(join(folder, 'dir/notes.txt'), 'x')
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('validate', () => {
  test('text: location, code, message, line, caret, suggestion', async () => {
    const { code, out } = await runner(['validate', 'bad.yaml'])
    expect(code).toBe(2)
    expect(
      out,
    ).toBe(`bad.yaml:2:23 CONFIG_UNKNOWN_KEY unknown key chanel; allowed: channel, format, batch_size (at sources[0].memory.chanel)
    2 | sources: [{ memory: { chanel: a } }]
      |                       ^^^^^^
      did you mean: channel

bad.yaml:4:21 CONFIG_EXPRESSION unknown function 'nope' (at transforms[0].filter)
    4 |   - filter: price > nope(1)
      |                     ^^^^

bad.yaml:6:18 CONFIG_DURATION must be a duration with its unit, such as 500ms, 10s, 1m or 1h30m (at commit_interval)
    6 | commit_interval: 5 sec
      |                  ^^^^^
      did you mean: 5s

3 problems in 1 of 1 file
`)
  })

  test('two files with the same name and version give a warning at the second one; another version does not', async () => {
    const { code, out } = await runner(['validate', 'same'])
    expect(code).toBe(0)
    expect(out).toMatch(
      /^same\/b\.yaml:1:1 warning CONFIG_NAME_TWICE same\/a\.yaml has the same name good and version 1: [^]*rename one of them/,
    )
    expect(out).toMatch(/✓ ok {6}same\/a\.yaml\n✓ ok {6}same\/b\.yaml: 1 warning\n✓ ok {6}same\/c\.yaml\n$/)
    expect((await runner(['validate', '--strict', 'same'])).code).toBe(2)
  })

  test('warnings are printed and do not fail, unless --strict', async () => {
    const lax = await runner(['validate', 'old.yaml', 'good.yaml'])
    expect(lax.code).toBe(0)
    expect(
      lax.out,
    ).toBe(`old.yaml:2:35 warning CONFIG_OLD_NAME ssl_ca is now called tls_ca; the old name still works (at sources[0].kafka.ssl_ca)
    2 | sources: [{ kafka: { topics: [t], ssl_ca: x.pem } }]
      |                                   ^^^^^^
      write: tls_ca

✓ ok      old.yaml: 1 warning
✓ ok      good.yaml
`)
    const strict = await runner(['validate', '--strict', 'old.yaml', 'good.yaml'])
    expect(strict.code).toBe(2)
    expect(strict.out).toContain('✓ ok      good.yaml\n1 problem in 1 of 2 files\n')
    const json = JSON.parse((await runner(['validate', 'old.yaml', '--format', 'json'])).out)
    expect(json).toMatchObject({
      ok: true,
      files: [{ ok: true, problems: [{ code: 'CONFIG_OLD_NAME', severity: 'warning', suggestion: 'tls_ca' }] }],
    })
  })

  test('json: the documented format', async () => {
    const { code, out } = await runner(['validate', 'good.yaml', 'bad.yaml', '--format', 'json'])
    expect(code).toBe(2)
    const report = JSON.parse(out)
    expect(report).toEqual({
      ok: false,
      files: [
        { file: 'good.yaml', ok: true, problems: [] },
        { file: 'bad.yaml', ok: false, problems: expect.any(Array) },
      ],
    })
    expect(Object.keys(report.files[1].problems[0])).toEqual([
      'code',
      'severity',
      'line',
      'column',
      'endLine',
      'endColumn',
      'path',
      'message',
      'suggestion',
      'fix',
    ])
    expect(report.files[1].problems[0]).toMatchObject({
      code: 'CONFIG_UNKNOWN_KEY',
      severity: 'error',
      line: 2,
      column: 23,
      endLine: 2,
      endColumn: 29,
      path: 'sources[0].memory.chanel',
      suggestion: 'channel',
      fix: { line: 2, column: 23, endLine: 2, endColumn: 29, text: 'channel' },
    })
    expect(JSON.parse((await runner(['validate', 'good.yaml', '--format', 'json'])).out).ok).toBe(true)
  })

  test('a problem in a file that the pipeline references is reported in every format, without the text of that file', async () => {
    const step = '{ validate: { schema_file: schema.json } }'
    writeFileSync(join(folder, 'uses.yaml'), `name: x\nsources: [{ stdin: {} }]\ntransforms: [${step}]\nsinks: [{ stdout: {} }]\n`)
    writeFileSync(join(folder, 'schema.json'), '{"secret": "hunter2",\n "requird": []}')
    const { out, code } = await runner(['validate', 'uses.yaml'])
    expect(code).toBe(2)
    expect(out).toContain(
      'schema.json:1:2 CONFIG_CHECK unknown keyword secret; a keyword of your own begins with x- (read by uses.yaml:3:41)',
    )
    expect(out).not.toContain('hunter2')
    const json = JSON.parse((await runner(['validate', 'uses.yaml', '--format', 'json'])).out)
    expect(json.files[0].problems[0]).toMatchObject({ file: 'schema.json', line: 1, column: 2 })
    expect((await runner(['validate', 'uses.yaml', '--format', 'github'])).out).toMatch(/^::error file=schema\.json,line=1,/)
  })

  test('github: one command per problem, escaped', async () => {
    writeFileSync(join(folder, 'odd,na:me%.yaml'), BAD)
    const { out, code } = await runner(['validate', 'odd,na:me%.yaml', '--format', 'github'])
    expect(code).toBe(2)
    const lines = out.trimEnd().split('\n')
    expect(lines).toHaveLength(3)
    expect(lines[0]).toMatch(
      /^::error file=odd%2Cna%3Ame%25\.yaml,line=2,endLine=2,col=23,endColumn=29,title=CONFIG_UNKNOWN_KEY::unknown key chanel/,
    )
  })

  test('sarif: rules, results and regions', async () => {
    const log = JSON.parse((await runner(['validate', 'bad.yaml', '--format', 'sarif'])).out)
    const [run] = log.runs
    expect([log.version, run.columnKind, run.results.length]).toEqual(['2.1.0', 'utf16CodeUnits', 3])
    for (const r of run.results) expect(run.tool.driver.rules[r.ruleIndex].id).toBe(r.ruleId)
    expect(run.results[0].locations[0].physicalLocation).toEqual({
      artifactLocation: { uri: 'bad.yaml' },
      region: { startLine: 2, startColumn: 23, endLine: 2, endColumn: 29 },
    })
  })

  test('folders, globs and missing paths', async () => {
    const files = async (...args: string[]): Promise<[number, string[]]> => {
      const { code, out } = await runner(['validate', '--format', 'json', ...args])
      return [code, JSON.parse(out).files.map((f: { file: string }) => f.file)]
    }
    expect(await files('dir')).toEqual([0, ['dir/deep/two.yml', 'dir/one.yaml']])
    expect(await files('{good,dir/*}.yaml')).toEqual([0, ['dir/one.yaml', 'good.yaml']])
    expect(await files('good.yaml', './dir', 'good.yaml')).toEqual([0, ['good.yaml', 'dir/deep/two.yml', 'dir/one.yaml']])
    expect(await files('none.yaml')).toEqual([3, ['none.yaml']])
    expect(await files('empty')).toEqual([3, ['empty']])
    expect(await files('no*.yaml')).toEqual([3, ['no*.yaml']])
    expect(await files('none.yaml', 'bad.yaml')).toEqual([3, ['none.yaml', 'bad.yaml']])
  })

  test('--set is validated like the file', async () => {
    const { code, out } = await runner(['validate', 'good.yaml', '--set', 'commit_interval=5'])
    expect(code).toBe(2)
    expect(out).toContain('--set:1:17 CONFIG_DURATION')
    const { files } = JSON.parse((await runner(['validate', 'good.yaml', '--set', 'commit_interval=5', '--format', 'json'])).out)
    expect(files[0].problems).toMatchObject([{ line: 1, column: 1, message: expect.stringContaining('--set: must be a duration') }])
    expect(out).toContain('commit_interval=5\n      |                 ^')
  })

  test('an invalid command line ends with exit code 2 and the reason', async () => {
    for (const args of [
      ['validate'],
      ['validate', 'good.yaml', '--format', 'xml'],
      ['validat', 'good.yaml'],
      ['validate', '--nope', 'x'],
      ['run', 'good.yaml', '--log-level', 'loud'],
      ['run', 'good.yaml', '--log-format', 'xml'],
    ]) {
      const { code, err } = await runner(args)
      expect(code, args.join(' ')).toBe(2)
      expect(err).toContain('error:')
    }
  })

  test('a missing file ends every command with exit code 3', async () => {
    for (const args of [['validate'], ['run'], ['explain'], ['check'], ['lag'], ['trigger'], ['dlq', 'ls'], ['schema']]) {
      const { code, out, err } = await runner([...args, 'nowhere.yaml'])
      expect(code, args.join(' ')).toBe(3)
      expect(out + err, args.join(' ')).toContain('nowhere.yaml does not exist')
    }
  })
})

test('a closed standard output ends with exit code 3 and the reason', async () => {
  const full = openSync('/dev/full', 'w')
  const child = spawn(process.execPath, [RUNNER, 'list'], { cwd: folder, stdio: ['ignore', full, 'pipe'] })
  closeSync(full)
  let err = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (err += text))
  const [code] = await once(child, 'close')
  expect([code, err]).toEqual([3, expect.stringMatching(/^error: cannot write to standard output: .*ENOSPC.*\n$/)])
})

test('list and schema print the content of the schemas', async () => {
  expect((await runner(['list'])).out).toMatch(/^sources\n(.|\n)*\n {2}kafka +Reads topics/)
  expect((await runner(['list', 'bars'])).out).toContain('interval (window size, required)')
  const listed = JSON.parse((await runner(['list', 'kafka', '--json'])).out)
  expect(listed.map((p: { kind: string }) => p.kind)).toEqual(['source', 'sink'])
  const unknown = await runner(['list', 'kafak'])
  expect([unknown.code, unknown.err]).toEqual([2, expect.stringContaining('did you mean kafka')])
  const { out } = await runner(['schema'])
  expect(out).toBe(readFileSync(resolve(import.meta.dirname, '../../schemas/pipeline.schema.json'), 'utf8'))
})

test('the schema of a file includes its own plugins', async () => {
  writeFileSync(
    join(folder, 'mine.js'),
    'export default { kind: "transform", type: "mine", schema: { type: "object", description: "Mine.", additionalProperties: false, properties: { a: { type: "integer", description: "A." } } }, create() {} }',
  )
  writeFileSync(join(folder, 'own.yaml'), `${GOOD}plugins: [mine.js]\ntransforms: [{ mine: { a: 1 } }]\n`)
  const { out, code } = await runner(['schema', 'own.yaml'])
  expect(code).toBe(0)
  const validate = new Ajv({ strict: false }).compile(JSON.parse(out))
  expect(
    validate({ name: 'x', sources: [{ stdin: {} }], sinks: [{ stdout: {} }], plugins: ['mine.js'], transforms: [{ mine: { a: 'b' } }] }),
  ).toBe(false)
  expect((await runner(['validate', 'own.yaml'])).code).toBe(0)
})

describe('the launcher', () => {
  test('forwards a signal, and exits like its child', async () => {
    // As under an old Node: the launcher is given an old version.
    const old = join(folder, 'old.mjs')
    writeFileSync(
      old,
      `Object.defineProperty(process.versions, 'node', { value: '20.0.0' }); process.argv.splice(1, 1); await import(${JSON.stringify(RUNNER)})`,
    )
    writeFileSync(
      join(folder, 'endless.yaml'),
      `name: endless\nsources: [{ generate: { fields: { a: { sequence: 1 } }, rate: 5 } }]\nsinks: [{ stdout: {} }]\n`,
    )
    const run = (...args: string[]) =>
      spawn(process.execPath, [old, RUNNER, ...args], {
        cwd: folder,
        env: { ...process.env, KAFKA_BROKERS: 'embedded' },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
    const bad = run('validate', 'bad.yaml')
    bad.stdout.resume()
    expect(await once(bad, 'exit')).toEqual([2, null])
    const endless = run('run', 'endless.yaml', '--log-level', 'error')
    await once(endless.stdout, 'data')
    endless.stdout.resume()
    endless.kill('SIGTERM')
    expect(await once(endless, 'exit')).toEqual([0, null])
  })
})
