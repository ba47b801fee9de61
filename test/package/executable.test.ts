/** The single executable: built by the one command, and used in an empty folder with nothing on PATH. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { brokers, consumeAll, createTopic, unique } from '../support/kafka.ts'
import { database, sql } from '../support/postgres.ts'
import { cli, redisUrl } from '../support/redis.ts'
import { tempDir } from '../support/runner.ts'

const ROOT = join(import.meta.dirname, '../..')
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }

describe.runIf(process.platform === 'linux' && process.arch === 'x64')('executable', () => {
  let executable: string
  let licenses: string

  beforeAll(() => {
    const folder = tempDir()
    execFileSync(process.execPath, [join(ROOT, 'scripts/executable.js'), folder], { stdio: ['ignore', 'ignore', 'pipe'] })
    executable = join(folder, `pipeline-runner-${version}-linux-x64`)
    licenses = readFileSync(`${executable}.licenses.txt`, 'utf8')
    expect(readdirSync(folder)).toHaveLength(2)
  })

  const env = (more: Record<string, string> = {}) => ({ HOME: '/', NO_COLOR: '1', ...more })

  function runner(cwd: string, args: string[], input = '', more: Record<string, string> = {}) {
    const { status, stdout, stderr } = spawnSync(executable, args, { cwd, input, encoding: 'utf8', env: env(more), timeout: 120_000 })
    return { code: status, out: stdout, err: stderr }
  }

  test('one file, with the licenses of its contents', () => {
    expect(runner('/', ['--version'])).toEqual({ code: 0, out: `${version}\n`, err: '' })
    expect(statSync(executable).size).toBeLessThan(150_000_000)
    for (const name of ['Node.js 24', 'kafkajs ', 'ioredis ', 'pg ', 'lz4-napi ']) expect(licenses).toContain(`\n${name}`)
    // The optional packages are not in it, so neither is EPL code.
    expect(licenses).not.toContain('elkjs')
  })

  test('validate, test and run, with a plugin in a file that imports the package', () => {
    const cwd = tempDir({
      'discount.ts': `import { DataError, defineTransform } from 'pipeline-runner'
import { parseDuration } from 'pipeline-runner/kit'
import schema from './discount.schema.json' with { type: 'json' }
export default defineTransform<{ percent: number }>({
  type: 'discount',
  schema,
  create: ({ percent }) => ({
    process(messages, out) {
      for (const m of messages) {
        const order = m.value as { price?: number }
        if (order.price === 13) throw new TypeError('unlucky')
        if (order.price === undefined) out.fail(m, new DataError('price is missing'))
        else out.emit(m.derive({ price: order.price * (1 - percent / 100), minute: parseDuration('1m') }))
      }
    },
  }),
})
`,
      'discount.schema.json': JSON.stringify({ type: 'object', properties: { percent: { type: 'number' } }, required: ['percent'] }),
      'orders.yaml': `name: orders
plugins: [./discount.ts]
sources: [{ stdin: {} }]
transforms: [{ discount: { percent: 10 } }]
sinks: [{ stdout: {} }]
dlq: { file: { path: dead.jsonl, envelope: true } }
`,
      'orders.test.yaml': `tests:
  - name: ten percent off
    steps: [{ input: [{ values: [{ price: 200 }, {}] }] }]
    expect:
      outputs: [{ value: { price: 180, minute: 60000 } }]
      dead_letters: [{ step: discount, message: price is missing }]
`,
      'wrong.yaml': 'name: wrong\nplugins: [not-there]\nsources: [{ stdin: {} }]\nsinks: [{ stdot: {} }]\n',
    })
    expect(runner(cwd, ['validate', 'orders.yaml'])).toEqual({ code: 0, out: '✓ ok      orders.yaml\n', err: '' })
    const wrong = runner(cwd, ['validate', 'wrong.yaml'])
    expect(wrong.code).toBe(2)
    expect(wrong.out).toContain('wrong.yaml:2:11 CONFIG_PLUGIN_FILE not-there is not installed')
    const tested = runner(cwd, ['test'])
    expect(tested, tested.out).toMatchObject({ code: 0, err: '' })
    const ran = runner(cwd, ['run', 'orders.yaml'], '{"price":200}\n{}\n{"price":13}\n')
    expect(ran, ran.err).toMatchObject({ code: 0, out: '{"price":180,"minute":60000}\n' })
    // The place is that of the plugin, not of the executable.
    expect(ran.err).toContain('process threw TypeError at discount.ts:11:')
    expect(readFileSync(join(cwd, 'dead.jsonl'), 'utf8').trim().split('\n')).toHaveLength(2)
  })

  test('the embedded log, exactly once', () => {
    const cwd = tempDir({
      'load.yaml':
        'name: load\nsources: [{ generate: { count: 100, fields: { n: { sequence: 0 } } } }]\nsinks: [{ kafka: { topic: in } }]\n',
      'copy.yaml': `name: copy
sources: [{ kafka: { topics: [in], group: copy } }]
transforms: [{ filter: "n < 10" }]
sinks: [{ kafka: { topic: out } }]
delivery: exactly_once
`,
      'show.yaml': 'name: show\nsources: [{ kafka: { topics: [out], group: show } }]\nsinks: [{ stdout: {} }]\n',
    })
    for (const file of ['load.yaml', 'copy.yaml', 'show.yaml']) {
      const ran = runner(cwd, ['run', file, '--until-idle', '300ms'])
      expect(ran, ran.err).toMatchObject({ code: 0 })
      if (file === 'show.yaml') expect(ran.out.trim().split('\n')).toHaveLength(10)
    }
  })

  test('Kafka, with the bundled lz4 add-on', async () => {
    const topic = await createTopic(unique('exe'))
    const cwd = tempDir({
      'write.yaml': `name: write\nsources: [{ stdin: {} }]\nsinks: [{ kafka: { topic: ${topic}, compression: lz4 } }]\n`,
      'read.yaml': `name: read\nsources: [{ kafka: { topics: [${topic}], group: ${topic} } }]\nsinks: [{ stdout: {} }]\n`,
    })
    // Long enough that compression pays.
    const lines = Array.from({ length: 200 }, (_, n) => `{"n":${n},"text":"${'abc'.repeat(50)}"}`)
    const kafka = { KAFKA_BROKERS: brokers() }
    const wrote = runner(cwd, ['run', 'write.yaml'], `${lines.join('\n')}\n`, kafka)
    expect(wrote, wrote.err).toMatchObject({ code: 0 })
    expect((await consumeAll(topic)).map(r => r.value!.toString())).toEqual(lines)
    const read = runner(cwd, ['run', 'read.yaml', '--until-idle', '1s'], '', kafka)
    expect(read, read.err).toMatchObject({ code: 0, out: `${lines.join('\n')}\n` })
  })

  test('Redis: lists, and Pub/Sub, which is read by a thread', async () => {
    const key = unique('exe')
    const cwd = tempDir({
      'write.yaml': `name: write\nsources: [{ stdin: {} }]\nsinks: [{ redis: { list: ${key} } }]\n`,
      'listen.yaml': `name: listen\nsources: [{ redis: { patterns: ["${key}.*"], format: text } }]\nsinks: [{ stdout: { format: text } }]\n`,
    })
    const wrote = runner(cwd, ['run', 'write.yaml'], '{"n":1}\n{"n":2}\n', { REDIS_URL: redisUrl() })
    expect(wrote, wrote.err).toMatchObject({ code: 0 })
    expect(await cli(['lrange', key, 0, -1])).toBe('{"n":1}\n{"n":2}')
    await cli(['del', key])
    const listener = spawn(executable, ['run', 'listen.yaml'], {
      cwd,
      env: env({ REDIS_URL: redisUrl() }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const ended = once(listener, 'exit')
    let out = ''
    listener.stdout.on('data', chunk => (out += chunk))
    listener.stderr.resume()
    try {
      await eventually(async () => expect(await cli(['publish', `${key}.a`, 'hello'])).toBe('1'))
      await eventually(() => expect(out).toContain('hello'))
    } finally {
      listener.kill('SIGTERM')
    }
    expect(await ended).toEqual([0, null])
  })

  test('PostgreSQL', async () => {
    const dsn = await database()
    await sql(dsn, 'create table orders (id int primary key, price numeric)')
    const cwd = tempDir({
      'write.yaml': 'name: write\nsources: [{ stdin: {} }]\nsinks: [{ postgres: { table: orders, columns: [id, price] } }]\n',
    })
    const wrote = runner(cwd, ['run', 'write.yaml'], '{"id":1,"price":1.10}\n', { PG_DSN_RW: dsn })
    expect(wrote, wrote.err).toMatchObject({ code: 0 })
    expect(await sql(dsn, 'select id, price::text from orders')).toEqual([{ id: 1, price: '1.10' }])
  })

  test('the error of a feature that is not included names it', () => {
    const cwd = tempDir({ 'a.yaml': 'name: a\nsources: [{ stdin: {} }]\nsinks: [{ stdout: {} }]\n' })
    const { code, err } = runner(cwd, ['explain', 'a.yaml', '--format', 'svg'])
    expect(code).toBe(3)
    expect(err).toContain(
      'beautiful-mermaid, which this executable does not contain; use the npm package: npm install pipeline-runner beautiful-mermaid',
    )
  })
})
