/** Dead letters that are replayed: each once, in key order, whatever happens to the replay, on real brokers and on the embedded log. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Exit, runRunner, startRunner, tempDir } from '../support/runner.ts'
import { type Backend, embeddedBackend, kafkaBackend } from './lib/backend.ts'

const POISON = Number(process.env.DLQ_POISON ?? 1000)
const PARTITIONS = 3
/** Odd, so that records of one key die at different steps. */
const KEYS = 31

/** Orders of which every second one is poison: its price is text (the file at first reads numbers only), or its quantity is. */
class Orders {
  readonly backend: Backend
  readonly cwd: string
  readonly input: string
  readonly output: string
  readonly dead: string
  readonly file = 'orders.yaml'
  readonly total: number

  private constructor(backend: Backend, cwd: string, topics: [string, string, string], poison: number) {
    this.backend = backend
    this.cwd = cwd
    ;[this.input, this.output, this.dead] = topics
    this.total = 2 * poison
    this.config(false)
  }

  static async create(backend: Backend, cwd: string, poison = POISON): Promise<Orders> {
    const topics = [
      await backend.topic('orders', PARTITIONS),
      await backend.topic('priced', PARTITIONS),
      await backend.topic('dead', PARTITIONS),
    ] as [string, string, string]
    const made = new Orders(backend, cwd, topics, poison)
    await backend.produce(
      topics[0],
      Array.from({ length: made.total }, (_, n) => {
        const bad = n % 2 === 1
        const k = Math.floor(n / 2) % KEYS
        const price = bad && n % 4 === 1 ? '"2.5"' : '2.5'
        const qty = bad && n % 4 === 3 ? '"4"' : '4'
        return {
          key: `k${k}`,
          partition: k % PARTITIONS,
          value: `{"key":"k${k}", "n":${n},"price":${price},"qty":${qty}}`,
          time: 1_700_000_000_000 + n,
          headers: { trace: `t${n}` },
        }
      }),
    )
    return made
  }

  config(mended: boolean, delivery = 'exactly_once'): void {
    const [price, qty] = mended ? ['double(price)', 'double(qty)'] : ['price * 1.0', 'qty * 1.0']
    writeFileSync(
      join(this.cwd, this.file),
      `
name: ${this.input}
sources: [{ kafka: { topics: [${this.input}], group: ${this.input} } }]
transforms:
  - map: { keep: true, fields: { price: "${price}" } }
  - map: { keep: true, fields: { total: "price * ${qty}" } }
sinks: [{ kafka: { topic: ${this.output}, key: key } }]
dlq: { kafka: ${this.dead} }
delivery: ${delivery}
commit_interval: 50ms
`,
    )
  }

  run(): Promise<Exit & { stdout: string; stderr: string }> {
    return runRunner(['run', this.file, '--until-idle', '500ms'], { cwd: this.cwd, env: this.backend.env })
  }

  /** @returns what it printed as JSON, with its exit code. */
  async dlq(...args: string[]): Promise<{ code: number | null; out: any; stderr: string }> {
    const { code, stdout, stderr } = await runRunner(['dlq', ...args, '--json'], { cwd: this.cwd, env: this.backend.env })
    return { code, out: stdout === '' ? undefined : JSON.parse(stdout), stderr }
  }

  async outputs(): Promise<{ key: string; n: number; total: number; time: number; trace: string }[]> {
    return (await this.backend.readAll(this.output, { headers: true })).map(r => ({
      ...(JSON.parse(String(r.value)) as { key: string; n: number; total: number }),
      key: String(r.key),
      time: r.time,
      trace: r.headers!.find(([name]) => name === 'trace')![1],
    }))
  }

  /** Every record is there once; good ones in order, replayed ones in order. */
  async verify(missing: (n: number) => boolean = () => false, ordered = true): Promise<void> {
    const out = await this.outputs()
    const numbers = out.map(o => o.n).toSorted((a, b) => a - b)
    expect(numbers).toEqual(Array.from({ length: this.total }, (_, n) => n).filter(n => !missing(n)))
    for (const [key, list] of ordered ? Map.groupBy(out, o => o.key) : []) {
      for (const part of [0, 1]) {
        const order = list.filter(o => o.n % 2 === part).map(o => o.n)
        expect(order, key).toEqual(order.toSorted((a, b) => a - b))
      }
    }
    for (const o of out) expect([o.total, o.time, o.trace]).toEqual([10, 1_700_000_000_000 + o.n, `t${o.n}`])
  }
}

describe.each(['kafka', 'embedded'] as const)('%s', name => {
  const use = async (work: (backend: Backend, cwd: string) => Promise<void>): Promise<void> => {
    const cwd = tempDir()
    const backend: Backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    try {
      await work(backend, cwd)
    } finally {
      await backend.close()
    }
  }

  test(
    'invalid records, replayed at the step after the file is fixed: each is written once and in key order; a second replay writes nothing',
    () =>
      use(async (backend, cwd) => {
        const orders = await Orders.create(backend, cwd)
        expect((await orders.run()).code).toBe(0)
        const before = await orders.dlq('ls', orders.file, '--max', '5')
        expect([before.code, before.out.open, before.out.done, before.out.letters.length]).toEqual([0, POISON, 0, 5])
        expect(before.out.counts).toEqual([
          { step: 'map', error_type: 'data', count: POISON / 2 },
          { step: 'map_2', error_type: 'data', count: POISON / 2 },
        ])

        orders.config(true)
        const dry = await orders.dlq('replay', orders.file, '--to', 'step', '--dry-run')
        expect([dry.code, dry.out.would_replay, dry.out.outputs.length, dry.out.left]).toEqual([0, POISON, POISON, []])
        expect((await orders.dlq('replay', orders.file, '--to', 'step')).out).toEqual({ replayed: POISON, failed_again: 0, left: [] })
        await orders.verify()
        const again = await orders.dlq('replay', orders.file, '--to', 'step')
        expect([again.code, again.out]).toEqual([0, { replayed: 0, failed_again: 0, left: [] }])
        await orders.verify()
        const after = await orders.dlq('ls', orders.file)
        expect([after.out.open, after.out.done, after.out.letters]).toEqual([0, POISON, []])
        expect((await orders.dlq('ls', '--topic', orders.dead, '--all', '--max', '1')).out).toMatchObject({ open: 0, done: POISON })
      }),
    120_000,
  )

  test(
    'kill -9 in the middle of a replay, twice',
    () =>
      use(async (backend, cwd) => {
        const orders = await Orders.create(backend, cwd)
        await orders.run()
        orders.config(true)
        for (let life = 1; life <= 2; life++) {
          const replay = startRunner(['dlq', 'replay', orders.file, '--to', 'step', '--rate', String(POISON / 4)], {
            cwd,
            env: backend.env,
          })
          await backend.waitFor(orders.output, POISON + (life * POISON) / 5)
          replay.kill('SIGKILL')
          await replay.exited
        }
        const { out } = await orders.dlq('replay', orders.file, '--to', 'step')
        expect(out.replayed).toBeGreaterThan(0)
        expect(out.replayed).toBeLessThan(POISON)
        await orders.verify()
        expect((await orders.dlq('replay', orders.file, '--to', 'step')).out.replayed).toBe(0)
        expect((await orders.dlq('ls', orders.file)).out).toMatchObject({ open: 0, done: POISON })
      }),
    120_000,
  )

  test(
    'replayed to the source: the original records, once; then the pipeline reads them',
    () =>
      use(async (backend, cwd) => {
        const orders = await Orders.create(backend, cwd, 200)
        await orders.run()
        const originals = (await backend.readAll(orders.input, { headers: true })).filter(r => /"(2.5|4)"/.test(String(r.value)))
        const replay = await orders.dlq('replay', orders.file, '--to', 'source')
        expect([replay.code, replay.out]).toEqual([0, { replayed: 200, failed_again: 0, left: [] }])
        expect((await orders.dlq('replay', orders.file, '--to', 'source')).out.replayed).toBe(0)
        const all = await backend.readAll(orders.input, { headers: true })
        expect(all.length).toBe(600)
        const back = all.filter(r => r.headers!.some(([h]) => h === 'dlq_attempts'))
        const plain = (list: typeof all) => list.map(r => [String(r.key), String(r.value), r.time, r.headers!.slice(0, 1)]).toSorted()
        expect(plain(back)).toEqual(plain(originals))
        expect(back.every(r => r.headers!.length === 2 && r.headers![1][1] === '1')).toBe(true)

        // Not fixed yet: they fail again, and their headers show the second attempt.
        await orders.run()
        const { out } = await orders.dlq('ls', orders.file, '--max', '1000')
        expect(out).toMatchObject({ open: 200, done: 200 })
        expect(new Set(out.letters.map((l: { attempts: number }) => l.attempts))).toEqual(new Set([2]))
        orders.config(true)
        expect((await orders.dlq('replay', orders.file, '--to', 'source')).out.replayed).toBe(200)
        await orders.run()
        await orders.verify()
      }),
    120_000,
  )

  test(
    'a filter replays its part, discard marks a part, and a later replay does the rest; a record that fails again is a dead letter with one more attempt',
    () =>
      use(async (backend, cwd) => {
        const orders = await Orders.create(backend, cwd, 100)
        await orders.run()
        const failed = await orders.dlq('replay', orders.file, '--to', 'step', '--step', 'map', '--max', '4')
        expect([failed.code, failed.out]).toEqual([4, { replayed: 4, failed_again: 4, left: [] }])
        const twice = (await orders.dlq('ls', orders.file, '--max', '1000')).out.letters.filter((l: any) => l.attempts === 2)
        expect(twice.length).toBe(4)
        for (const l of twice) {
          expect(l.first_failed_at < l.failed_at).toBe(true)
          const source = (await backend.readAll(orders.input)).find(
            r => r.partition === l.source.partition && r.offset === l.source.offset,
          )!
          expect((await orders.dlq('show', orders.file, l.id)).out.value).toBe(String(source.value))
        }

        orders.config(true)
        const discarded = twice.slice(0, 2) as { id: string; source: { partition: number; offset: number } }[]
        const gone = new Set<number>()
        for (const { id } of discarded) gone.add(JSON.parse((await orders.dlq('show', orders.file, id)).out.value).n)
        expect((await orders.dlq('discard', orders.file, ...discarded.map(l => l.id))).out).toEqual({ discarded: 0, matching: 2 })
        expect((await orders.dlq('discard', orders.file, '--yes')).code).toBe(2)
        expect((await orders.dlq('discard', orders.file, ...discarded.map(l => l.id), '--yes')).out).toEqual({ discarded: 2, matching: 2 })

        expect((await orders.dlq('replay', orders.file, '--to', 'step', '--step', 'map_2')).out.replayed).toBe(50)
        await orders.verify(n => n % 4 === 1)
        const rest = await orders.dlq('replay', orders.file, '--to', 'step', '--error-type', 'data')
        expect([rest.code, rest.out.replayed]).toEqual([0, 48])
        await orders.verify(n => gone.has(n), false)
        expect((await orders.dlq('ls', orders.file)).out).toMatchObject({ open: 0, done: 104 })
      }),
    120_000,
  )

  test(
    'two replays at once: the second fences the first, which reports it, and each record is written once',
    () =>
      use(async (backend, cwd) => {
        const orders = await Orders.create(backend, cwd, 200)
        await orders.run()
        orders.config(true)
        // Slow enough to be still at it when the second has started, on any machine.
        const first = startRunner(['dlq', 'replay', orders.file, '--to', 'step', '--rate', '4/s'], { cwd, env: backend.env })
        await backend.waitFor(orders.output, 210)
        const second = await orders.dlq('replay', orders.file, '--to', 'step')
        expect(second.code).toBe(0)
        await first.exit(1)
        expect(first.stderr).toMatch(/fenced: another replay .* has started/)
        await orders.verify()
        expect((await orders.dlq('ls', orders.file)).out).toMatchObject({ open: 0, done: 200 })
      }),
    120_000,
  )
})

test('a dlq file: bytes that are not text, not JSON, and a tombstone are restored byte for byte', async () => {
  const cwd = tempDir({ 'plain.jsonl': '' })
  const backend = embeddedBackend(cwd)
  const input = await backend.topic('in')
  const values = [
    Buffer.from([0xff, 0x00, 0x0a]),
    Buffer.from('not json'),
    Buffer.from('"text"'),
    null,
    Buffer.from(' {"a": 1.10}\n'),
    Buffer.from('{"a":"x"}'),
  ]
  await backend.produce(
    input,
    values.map((value, i) => ({ partition: 0, key: i % 2 ? Buffer.from([0xfe, i]) : 'k', value, time: 5000 + i, headers: { h: `${i}` } })),
  )
  const file = (name: string, map: string) =>
    writeFileSync(
      join(cwd, name),
      `name: p\nsources: [{ kafka: { topics: [${input}] } }]\ntransforms: [{ map: "${map}" }]\nsinks: [{ kafka: out }]\ndlq: { file: { path: dead.jsonl, envelope: true } }\n`,
    )
  file('p.yaml', 'a * 2.0')
  const runner = (...args: string[]) => runRunner(args, { cwd, env: backend.env })
  expect((await runner('run', 'p.yaml', '--until-idle', '300ms')).code).toBe(0)
  const lines = readFileSync(join(cwd, 'dead.jsonl'), 'utf8').trim().split('\n')
  expect(lines.length).toBe(5)
  const listed = JSON.parse((await runner('dlq', 'ls', 'p.yaml', '--json')).stdout)
  expect([listed.open, listed.letters.map((l: any) => l.id)]).toEqual([5, ['0/1', '0/2', '0/3', '0/4', '0/5']])
  expect((await runner('dlq', 'show', 'p.yaml', '0/1')).stdout).toContain('ff 00 0a')

  // One that can go on at its step, then all others back to the topic.
  file('p.yaml', 'double(size(string(a)))')
  const step = await runner('dlq', 'replay', 'p.yaml', '--to', 'step', '--contains', '{"a":"x"}', '--json')
  expect([step.code, JSON.parse(step.stdout).replayed], step.stderr).toEqual([0, 1])
  const back = await runner('dlq', 'replay', 'p.yaml', '--to', 'source', '--json')
  expect([back.code, JSON.parse(back.stdout).replayed], back.stderr).toEqual([0, 4])
  const all = await backend.readAll(input)
  expect(all.slice(6).map(r => [r.key, r.value, r.time])).toEqual([0, 1, 2, 3].map(i => [all[i].key, all[i].value, all[i].time]))
  expect((await backend.readAll('out')).map(r => String(r.value))).toEqual(['2.2', '1'])
  expect(JSON.parse((await runner('dlq', 'replay', 'p.yaml', '--to', 'source', '--json')).stdout).replayed).toBe(0)
  expect((await runner('dlq', 'replay', 'p.yaml', '--to', 'source', '0/1')).code).toBe(4)

  // Another file in its place: none of its dead letters are done.
  writeFileSync(join(cwd, 'dead.jsonl'), `${lines.slice(1, 3).join('\n')}\n{"half a`)
  expect(JSON.parse((await runner('dlq', 'ls', 'p.yaml', '--json')).stdout)).toMatchObject({ open: 2, done: 0 })
  await backend.close()
})

test('a record that one of two sinks refused is replayed to that sink only; a dead letter of another file stays', async () => {
  const cwd = tempDir({
    'in.jsonl': '{"a":1}\n[1]\n{"a":2}\n',
    'p.yaml': `
name: p
sources: [{ file: in.jsonl }]
sinks:
  - file: all.jsonl
  - name: table
    file: { path: table.csv }
dlq: { kafka: dead }
`,
  })
  const runner = (...args: string[]) => runRunner(args, { cwd, env: { KAFKA_BROKERS: undefined } })
  expect((await runner('run', 'p.yaml')).code).toBe(0)
  await runner('run', 'p.yaml', '--set', 'name=other', '--set', 'sinks[0].file=o.jsonl', '--set', 'sinks[1].file.path=o.csv')
  // Today's file takes it: the sink of that name writes lines.
  const args = ['--set', 'sinks[1].file.path=table.jsonl', '--json']
  const { code, stdout, stderr } = await runner('dlq', 'replay', 'p.yaml', '--to', 'step', ...args)
  expect([code, JSON.parse(stdout)], stderr).toEqual([0, { replayed: 1, failed_again: 0, left: [] }])
  expect(readFileSync(join(cwd, 'table.jsonl'), 'utf8')).toBe('[1]\n')
  expect(readFileSync(join(cwd, 'all.jsonl'), 'utf8')).toBe('{"a":1}\n[1]\n{"a":2}\n')
  const rest = JSON.parse((await runner('dlq', 'ls', '--topic', 'dead', '--json')).stdout)
  expect([rest.open, rest.done, rest.letters[0].pipeline]).toEqual([1, 1, 'other'])

  const renamed = await runner('dlq', 'replay', 'p.yaml', '--to', 'step', '--pipeline', 'other', '--set', 'sinks[1].name=renamed', ...args)
  expect([renamed.code, JSON.parse(renamed.stdout).left]).toEqual([
    4,
    [{ reason: "the file has no step 'table' any more: use --to source", count: 1 }],
  ])
  expect((await runner('dlq', 'replay', 'p.yaml', '--to', 'source')).code).toBe(2)
})

test('a step that throws, and state: a replayed dead letter is done and dead-lettered again; no window gets half of its records', async () => {
  const cwd = tempDir({
    'in.jsonl': Array.from({ length: 20 }, (_, n) => `{"n":${n}}`).join('\n'),
    'bang.ts': `export default { kind: 'transform', type: 'bang',
  schema: { type: 'object', description: 'For tests.', additionalProperties: false, properties: {} },
  create: () => ({ process(messages, out) {
    for (const m of messages) {
      if (m.value.n % 5 === 1) throw new TypeError('bang')
      out.emit(m)
    }
  } }) }`,
    'p.yaml': `
name: p
plugins: [./bang.ts]
sources: [{ file: in.jsonl }]
transforms: [{ bang: {} }]
sinks: [{ kafka: out }]
dlq: { kafka: dead }
`,
  })
  const runner = (...args: string[]) => runRunner(args, { cwd, env: { KAFKA_BROKERS: undefined } })
  const json = async (...args: string[]) => JSON.parse((await runner(...args, '--json')).stdout)
  expect((await runner('run', 'p.yaml')).code).toBe(0)
  expect(await json('dlq', 'replay', 'p.yaml', '--to', 'step')).toMatchObject({ replayed: 4, left: [] })
  const { open, done, letters } = await json('dlq', 'ls', 'p.yaml')
  expect([open, done, letters.map((l: any) => [l.attempts, l.error_type])]).toEqual([
    4,
    4,
    Array.from({ length: 4 }, () => [2, 'TypeError']),
  ])

  writeFileSync(join(cwd, 'bang.ts'), readFileSync(join(cwd, 'bang.ts'), 'utf8').replace('% 5 === 1', '> 100'))
  writeFileSync(
    join(cwd, 'p.yaml'),
    readFileSync(join(cwd, 'p.yaml'), 'utf8').replace('[{ bang: {} }]', '[{ bang: {} }, { dedupe: { key: n } }]'),
  )
  const kept = await json('dlq', 'replay', 'p.yaml', '--to', 'step')
  expect([kept.replayed, kept.left[0].count]).toEqual([0, 4])
  expect(kept.left[0].reason).toMatch(/step 'dedupe' keeps state.*--to source, or --fresh-state/)
  expect(await json('dlq', 'replay', 'p.yaml', '--to', 'step', '--fresh-state')).toMatchObject({ replayed: 4, failed_again: 0 })
  expect(await json('dlq', 'ls', 'p.yaml')).toMatchObject({ open: 0, done: 8 })
})

describe.each(['kafka', 'embedded'] as const)('the shipped pipelines/dlq-replay.yaml, %s', name => {
  test('moves dead letters back to their topics, once; records that fail repeatedly are parked', async () => {
    const cwd = tempDir()
    const backend: Backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    const orders = await Orders.create(backend, cwd, 100)
    const parked = await backend.topic('parked')
    const file = new URL('../../pipelines/dlq-replay.yaml', import.meta.url).pathname
    const env = {
      ...backend.env,
      KAFKA_DLQ_TOPIC: orders.dead,
      KAFKA_DLQ_PARKED_TOPIC: parked,
      KAFKA_DLQ_REPLAY_GROUP: `${orders.dead}-replay`,
      KAFKA_DLQ_MAX_ATTEMPTS: '1',
    }
    const move = async (): Promise<void> => {
      const { code, stderr } = await runRunner(['run', file, '--until-idle', '500ms', '--set', `name=${orders.dead}-replay`], { cwd, env })
      expect(code, stderr).toBe(0)
    }
    await orders.run()
    await move()
    await move()
    expect((await backend.readAll(orders.input)).length).toBe(300)
    // Prices are fixed, quantities are not.
    writeFileSync(join(cwd, orders.file), readFileSync(join(cwd, orders.file), 'utf8').replace('price * 1.0', 'double(price)'))
    await orders.run()
    await move()
    await orders.verify(n => n % 4 === 3)
    const left = await backend.readAll(parked, { headers: true })
    expect(left.length).toBe(50)
    expect(left[0].headers!.findLast(([h]) => h === 'error_message')![1]).toMatch(/^rejected 2 times, last by step 'map_2'/)
    expect((await backend.readAll(orders.input)).length).toBe(300)
    await backend.close()
  })
})
