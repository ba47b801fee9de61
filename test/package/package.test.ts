/**
 * The package as a user gets it: packed, installed from the tarball into an empty folder outside the repository with production
 * dependencies only, and used there on every Node that `engines` admits.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Major, nodeOf } from '../support/nodes.ts'
import { tempDir } from '../support/runner.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const { version, engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string; engines: { node: string } }
const SUPPORTED: Major[] = [22, 24]
const MB = 1_000_000

/** The blocks of docs/guide/first-plugin.md are whole files; the names are before them. */
const EXAMPLE = blocksOf(readFileSync(join(ROOT, 'docs/guide/first-plugin.md'), 'utf8'), '# Your first plugin')
const FILES = ['discount.ts', 'discount.schema.json', 'orders.yaml', 'orders.test.yaml'] as const

let tarball: string
let folder: string
let contents: string[]

beforeAll(() => {
  const packed = tempDir()
  // The project's own Node first: npm runs scripts with the one on PATH.
  const out = run('npm', ['pack', '--json', '--pack-destination', packed], ROOT)
  const [{ filename, files }] = Object.values(JSON.parse(out.slice(out.search(/^[[{]/m)))) as {
    filename: string
    files: { path: string }[]
  }[]
  tarball = join(packed, filename)
  contents = files.map(file => file.path)
  folder = tempDir()
  run('npm', ['init', '-y'], folder)
  run('npm', ['install', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error', tarball], folder)
  for (const name of FILES) writeFileSync(join(folder, name), EXAMPLE.get(name)!)
})

test('contents and size', () => {
  const kinds = new Set(contents.map(path => path.split('/')[0]))
  expect([...kinds].toSorted()).toEqual(['LICENSE', 'README.md', 'bin', 'dist', 'package.json', 'schemas'])
  expect(contents.filter(path => path.startsWith('dist/') && !/\.(js|js\.map|d\.ts|json)$/.test(path)).toSorted()).toEqual([
    'dist/vendor/commander.mjs',
    'dist/vendor/yaml.cjs',
  ])
  expect(statSync(tarball).size).toBeLessThan(1 * MB)
  expect(sizeOf(join(folder, 'node_modules'))).toBeLessThan(40 * MB)
})

test('bundled libraries have the versions of the dependencies', () => {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }
  for (const file of ['commander.mjs', 'yaml.cjs']) {
    const [name] = file.split('.') as [string]
    const text = readFileSync(join(folder, 'node_modules/pipeline-runner/dist/vendor', file), 'utf8')
    expect(text.split('\n')[0]).toBe(`/* ${name} ${dependencies[name]}`)
    expect(text).toContain('Permission ')
  }
})

/** What starting costs is the number of files: their time depends on the machine. 71 when this was written; 270 without the bundle. */
test('validate opens few module files', () => {
  writeFileSync(join(folder, 'bars.yaml'), readFileSync(join(ROOT, 'pipelines/bars.yaml')))
  expect(filesOpenedBy('validate', 'bars.yaml').length).toBeLessThan(90)
})

/** These cost 0.1 s of CPU at each start. */
test('run loads neither the compiler of expressions nor tables of widths without a need', () => {
  const text = `name: s
sources: [{ file: { path: tick.jsonl } }]
transforms: [{ bars: 1m }]
sinks: [{ stdout: {} }]
delivery: at_least_once
`
  writeFileSync(join(folder, 'start.yaml'), text)
  writeFileSync(join(folder, 'tick.jsonl'), '{"symbol":"A","price":1.5,"volume":2,"ts":1700000000000}\n')
  const files = filesOpenedBy('run', 'start.yaml')
  expect(files.length).toBeGreaterThan(70)
  expect(files.filter(file => /node_modules\/(@marcbachmann|re2js|string-width)/.test(file))).toEqual([])
})

/** With their paths; the command must succeed. */
function filesOpenedBy(...args: string[]): string[] {
  writeFileSync(
    join(folder, 'count.mjs'),
    `import { registerHooks } from 'node:module'
const files = []
registerHooks({ load(url, context, next) { if (url.startsWith('file:')) files.push(url); return next(url, context) } })
process.on('exit', () => console.log('\\n' + JSON.stringify(files)))
`,
  )
  const bin = join(folder, 'node_modules/.bin/pipeline-runner')
  const { code, out } = command(process.execPath, ['--import', './count.mjs', bin, ...args], folder, '', null)
  expect(code).toBe(0)
  return JSON.parse(out.trim().split('\n').at(-1)!) as string[]
}

test('publint and arethetypeswrong find nothing', () => {
  expect(run(tool('publint'), ['run', tarball, '--strict'], ROOT)).toContain('All good!')
  // Its exit code is 1 when there is a problem.
  expect(run(tool('attw'), [tarball, '--profile', 'esm-only', '--format', 'table-flipped'], ROOT)).toContain('"pipeline-runner/testing"')
})

test('the first plugin of the guide type-checks in strict mode with nothing but the package and TypeScript', () => {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  run(process.execPath, [tsc, ...flagsOf('npx tsc', 'discount.ts'), 'discount.ts'], folder)
  // The check sees types: a wrong one is an error.
  writeFileSync(join(folder, 'wrong.ts'), EXAMPLE.get('discount.ts')!.replace("type: 'discount'", "typo: 'discount'"))
  expect(() => run(process.execPath, [tsc, ...flagsOf('npx tsc', 'discount.ts'), 'wrong.ts'], folder)).toThrow(/typo/)
})

describe.each(SUPPORTED)('on Node %i', major => {
  const node = (): string => nodeOf(major)
  const runner = (args: string[], input = '') => command(node(), args, folder, input)

  test('--version, and the first plugin: validate, test, run', () => {
    expect(runner(['--version'])).toMatchObject({ code: 0, out: `${version}\n` })
    expect(runner(['validate', 'orders.yaml'])).toMatchObject({ code: 0, out: '✓ ok      orders.yaml\n', err: '' })
    const tested = runner(['test'])
    expect(tested).toMatchObject({ code: 0, err: '' })
    expect(tested.out).toMatch(/\n1 passed, 0 failed\n$/)
    const [, shown] = /run orders\.yaml\n(.*)\n/.exec(EXAMPLE.get('console')!)!
    expect(runner(['run', 'orders.yaml'], '{"id": 1, "price": 200}\n{"id": 2}\n')).toMatchObject({ code: 0, out: `${shown}\n` })
    expect(readFileSync(join(folder, 'dead.jsonl'), 'utf8')).toContain('price is missing')
  })

  test('fmt, and new, which format YAML', () => {
    const [file, made] = [`fmt${major}.yaml`, `made${major}.yaml`]
    writeFileSync(join(folder, file), 'sinks:   [{ stdout: {} }]\nname: a # kept\nsources: [{ stdin: {} }]\n')
    expect(runner(['fmt', file])).toMatchObject({ code: 0, err: '' })
    expect(readFileSync(join(folder, file), 'utf8')).toBe('name: a # kept\nsources: [{ stdin: {} }]\nsinks: [{ stdout: {} }]\n')
    expect(runner(['new', made, 'stdin/filter/stdout'])).toMatchObject({ code: 0 })
    expect(runner(['validate', made])).toMatchObject({ code: 0 })
    // `runner test` of another Node runs all tests of the folder.
    rmSync(join(folder, `made${major}.test.yaml`))
  })

  test('exactly once through the embedded log, and other commands read its output', () => {
    const name = `node${major}`
    writeFileSync(
      join(folder, `${name}.yaml`),
      `name: ${name}
sources: [{ kafka: { topics: [${name}-in], group: ${name} } }]
transforms: [{ window: { by: k, size: 1m, aggregates: { n: { count: "*" } } } }]
sinks: [{ kafka: { topic: ${name}-out, key: key } }]
delivery: exactly_once
`,
    )
    writeFileSync(
      join(folder, `${name}-load.yaml`),
      `name: ${name}-load
sources: [{ generate: { count: 100, start: "2026-01-01T00:00:00Z", step: 1s, fields: { k: { choice: [a, b] } } } }]
sinks: [{ kafka: { topic: ${name}-in, key: k } }]
`,
    )
    for (const file of [`${name}-load.yaml`, `${name}.yaml`]) {
      const ran = runner(['run', file, '--until-idle', '300ms'])
      expect(ran, ran.err).toMatchObject({ code: 0 })
    }
    const lag = runner(['lag', `${name}.yaml`, '--json'])
    expect(lag, lag.err).toMatchObject({ code: 0 })
    expect(JSON.parse(lag.out)).toMatchObject({ ok: true, total_lag: 0 })
  })

  test('the engine and the first plugin in a bundle made by esbuild, started where nothing is installed', () => {
    writeFileSync(join(folder, 'main.mjs'), BUNDLED)
    const alone = tempDir()
    const outfile = join(alone, 'bundle.mjs')
    run(tool('esbuild'), ['main.mjs', '--bundle', ...bundleFlags(), `--outfile=${outfile}`], folder)
    const started = command(node(), [], alone, '', outfile)
    expect(started, started.err).toMatchObject({ code: 0, out: '{"price":180}\n{"in":1,"out":1}\n' })
  })

  test('pipeline-runner/testing needs no test framework', () => {
    writeFileSync(
      join(folder, `unit${major}.test.mjs`),
      `import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Message } from 'pipeline-runner'
import { testPipeline } from 'pipeline-runner/testing'
test('names', () => assert.equal(Message.name, 'Message'))
test('orders', async () => {
  const pipeline = await testPipeline('orders.yaml')
  await pipeline.send({ value: { price: 200 } })
  await pipeline.end()
  assert.deepEqual((await pipeline.outputs()).map(o => o.value), [{ price: 180 }])
})
`,
    )
    const tested = command(node(), ['--test', `unit${major}.test.mjs`], folder, '', null)
    expect(tested, tested.out + tested.err).toMatchObject({ code: 0 })
  })

  test('the error of a missing package shows how to install it', () => {
    const drawn = runner(['explain', 'orders.yaml', '--format', 'svg'])
    expect(drawn).toMatchObject({ code: 3, out: '' })
    expect(drawn.err).toMatch(/needs the package beautiful-mermaid, which is not installed; run: npm install beautiful-mermaid/)
  })
})

test('a Node below engines gets one true sentence, and exit code 3', () => {
  const old = command(nodeOf(20), ['--version'], folder)
  expect(old.code).toBe(3)
  expect(old.out).toBe('')
  expect(old.err).toContain(`pipeline-runner needs Node.js ${engines.node.replace('>=', '')} or later; this is v20.`)
  expect(old.err).toContain('https://nodejs.org')
})

const BUNDLED = `import { MemoryChannel, run } from 'pipeline-runner'
import discount from './discount.ts'
const orders = new MemoryChannel()
const pipeline = await run(
  { name: 'bundled', sources: [{ memory: 'orders' }], transforms: [{ discount: { percent: 10 } }], sinks: [{ stdout: {} }] },
  { memory: { orders }, plugins: [discount] },
)
await orders.send({ value: { price: 200 } })
orders.end()
const { in: read, out } = await pipeline.completed
console.log(JSON.stringify({ in: read, out }))
`

/** The code blocks below a heading: files by the name in backquotes before each, the console block as `console`. */
function blocksOf(text: string, heading: string): Map<string, string> {
  const section = text.slice(text.indexOf(`${heading}\n`))
  const found = new Map<string, string>()
  for (const [, name, language, code] of section.matchAll(/(?:`([\w.]+)`:\n\n)?```(\w+)\n([\s\S]*?)\n```/g))
    if (name !== undefined || language === 'console') found.set(name ?? 'console', `${code}\n`)
  return found
}

/** The flags that the guide shows for a command. */
function flagsOf(start: string, end: string): string[] {
  const line = EXAMPLE.get('console')!
    .split('\n')
    .find(l => l.startsWith(`$ ${start} `) && l.endsWith(end))!
  return line.slice(`$ ${start} `.length, -end.length).trim().split(' ')
}

/** The flags that docs/guide/embedding.md shows for esbuild. */
function bundleFlags(): string[] {
  const guide = readFileSync(join(ROOT, 'docs/guide/embedding.md'), 'utf8')
  const [, line] = /^\$ npx esbuild main\.mjs --bundle (.*) --outfile=/m.exec(guide)!
  return [...line.matchAll(/(?:'([^']*)'|(\S+?)"([^"]*)"|(\S+))/g)].map(
    ([, single, before, quoted, plain]) => single ?? plain ?? before + quoted,
  )
}

function tool(name: string): string {
  return join(ROOT, 'node_modules/.bin', name)
}

function run(file: string, args: string[], cwd: string): string {
  try {
    return execFileSync(file, args, { cwd, encoding: 'utf8', env: environment(), stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 * MB })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${file} ${args.join(' ')}: ${stdout}${stderr}`, { cause: error })
  }
}

/** Where tools may write what they compile, what the test run marks its processes with, and what the network needs. */
const KEPT = new Set(['NODE_COMPILE_CACHE', 'NODE_EXTRA_CA_CERTS', 'RUNNER_TEST_RUN'])

/** Nothing else that vitest or npm have set for this run. */
function environment(): NodeJS.ProcessEnv {
  const env = Object.entries(process.env).filter(
    ([name]) => !/^(VITEST|NODE_|npm_(package|lifecycle)|RUNNER_|FORCE_COLOR|TEST$|DEV$|PROD$)/.test(name) || KEPT.has(name),
  )
  return { ...Object.fromEntries(env), NO_COLOR: '1' }
}

/** Runs `pipeline-runner`, or `script`, on the given Node. */
function command(
  node: string,
  args: string[],
  cwd: string,
  input = '',
  script: string | null = join(folder, 'node_modules/.bin/pipeline-runner'),
) {
  const all = script === null ? args : [script, ...args]
  const { status, stdout, stderr } = spawnSync(node, all, { cwd, input, encoding: 'utf8', env: environment(), timeout: 120_000 })
  return { code: status, out: stdout, err: stderr }
}

/** Bytes of all files below. */
function sizeOf(path: string): number {
  let bytes = 0
  for (const entry of readdirSync(path, { withFileTypes: true, recursive: true }))
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).size
  return bytes
}
