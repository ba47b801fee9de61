import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type ConnectionConfig, isEmbedded } from '../../connectors/kafka/connect.ts'
import type { Driver } from '../../connectors/kafka/driver.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { ANSWER_BYTES, readUpTo } from '../../kit/http/answer.ts'
import { PipelineError } from '../../contract/plugin.ts'
import { build } from '../../runtime/build.ts'
import { memoryCheckpoints } from '../../runtime/checkpoints/memory.ts'
import { systemClock } from '../../kit/clock.ts'
import { loadLanguageFor } from '../../config/lane-keys.ts'
import { loadText } from '../../config/load.ts'
import { connectionSettings } from '../../operations/connection.ts'
import { silent } from '../../operations/position-status.ts'
import { PipelineRun } from '../../runtime/pipeline.ts'
import { serveTelemetry } from '../../runtime/telemetry/server.ts'
import { commandExit } from '../command.ts'
import { note, outcomeLine, print, printJson, quiet } from '../output.ts'
import type { SmokeFlags } from '../smoke.ts'

const COUNT = 200
const PARTITIONS = 2

/** A step with a wrong result. */
class Wrong extends PipelineError {
  constructor(message: string) {
    super('PIPE_SMOKE', message)
  }
}

interface Result {
  readonly step: string
  readonly ok: boolean
  readonly detail: string
}

/** @returns the exit code. */
export async function smoke(flags: SmokeFlags): Promise<number> {
  const config = await connectionSettings(flags.brokers)
  const embedded = isEmbedded(config.brokers)
  // The wiring test must not touch the log that pipelines on this machine use.
  const folder = embedded ? mkdtempSync(join(tmpdir(), 'runner-smoke-')) : undefined
  const used: ConnectionConfig = folder === undefined ? config : { ...config, brokers: `embedded:${join(folder, 'log.db')}` }
  const mode = embedded
    ? 'wiring only: no broker is configured (KAFKA_BROKERS, --brokers); uses the embedded log in a temporary folder'
    : `end to end: Kafka at ${config.brokers}`
  const results: Result[] = []
  const tell = (result: Result): void => {
    results.push(result)
    if (!flags.json && !(quiet() && result.ok)) print(outcomeLine(result.ok ? 'ok' : 'failed', `${result.step}: ${result.detail}`))
  }
  if (!flags.json) note(`${mode}\n`)
  let code: number = EXIT.ok
  try {
    await walk(used, flags.timeout, tell)
  } catch (error) {
    code = error instanceof Wrong ? EXIT.verdict : error instanceof PipelineError ? commandExit(error) : EXIT.runtime
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  if (flags.json) printJson({ ok: code === EXIT.ok, mode: embedded ? 'wiring' : 'kafka', steps: results })
  else
    print(
      code !== EXIT.ok
        ? 'the smoke test failed\n'
        : embedded
          ? 'the wiring works; to test end to end, set KAFKA_BROKERS\n'
          : 'the installation works end to end\n',
    )
  return code
}

async function walk(config: ConnectionConfig, timeout: number, tell: (result: Result) => void): Promise<void> {
  const step = async <T>(name: string, work: () => Promise<[T, string]>): Promise<T> => {
    try {
      const [value, detail] = await work()
      tell({ step: name, ok: true, detail })
      return value
    } catch (error) {
      tell({ step: name, ok: false, detail: (error as Error).message })
      throw error
    }
  }
  const { driver, release } = await step('connection', async () => {
    const handle = await connect(config, silent)
    return [handle, handle.driver.scope]
  })
  const id = `runner-smoke-${randomBytes(4).toString('hex')}`
  const [input, output] = [`${id}-in`, `${id}-out`]
  let cleaning: unknown
  try {
    await step('topics created', async () => {
      await driver.createTopics([input, output].map(topic => ({ topic, partitions: PARTITIONS })))
      return [undefined, `${input}, ${output}`]
    })
    await step('records produced', async () => {
      const producer = await driver.producer({ compression: 'gzip', lingerMs: 5, batchSize: 16_384, idempotent: true, acks: -1 })
      try {
        await producer.send(records(input))
      } finally {
        await producer.close()
      }
      return [undefined, `${COUNT} records`]
    })
    await throughPipeline(config, id, input, output, timeout, step)
    await step('output', async () => [undefined, await compare(driver, output)])
    await step('offsets committed', async () => [undefined, await committed(driver, id, input)])
  } finally {
    try {
      await step('topics deleted', async () => {
        await driver.admin.deleteTopics([input, output])
        return [undefined, `${input}, ${output}`]
      })
    } catch (error) {
      // The first error matters more than a failed cleanup.
      cleaning = error
    }
    await release()
  }
  if (cleaning !== undefined) throw cleaning
}

const text = (n: number): string => `{"n":${n},"text":"smöke ${n}"}`
const records = (topic: string) =>
  Array.from({ length: COUNT }, (_, n) => ({
    topic,
    key: `k${n % 7}`,
    value: text(n),
    headers: [['n', Buffer.from(String(n))]] as const,
    time: 1_700_000_000_000 + n,
    partition: n % PARTITIONS,
  }))

type Stepper = <T>(name: string, work: () => Promise<[T, string]>) => Promise<T>

async function throughPipeline(
  config: ConnectionConfig,
  id: string,
  input: string,
  output: string,
  timeout: number,
  step: Stepper,
): Promise<void> {
  const file = `name: ${id}
sources: [{ kafka: { topics: [${input}], group: ${id}, start_at: earliest } }]
transforms: [{ map: { keep: true, fields: { twice: n * 2 } } }]
sinks: [{ kafka: { topic: ${output}, keep_partition: true, keep_headers: true } }]
`
  const run = await step('pipeline built', async () => {
    const { pipeline, problems } = await loadText('smoke.yaml', file, {
      env: { ...process.env, KAFKA_BROKERS: config.brokers, KAFKA_METRICS_ENABLED: 'false' },
    })
    if (!pipeline) throw new Wrong(problems.map(p => `${p.path}: ${p.message}`).join('; '))
    await loadLanguageFor(pipeline)
    const built = build(pipeline, { clock: systemClock, log: silent, localCheckpoints: () => memoryCheckpoints() })
    return [
      new PipelineRun(built, { clock: systemClock, log: silent, untilIdle: 500, endAt: Number.POSITIVE_INFINITY }),
      'kafka -> map -> kafka',
    ]
  })
  const server = await serveTelemetry('127.0.0.1', 0, run)
  try {
    const late = setTimeout(() => run.abort(new Wrong(`not done within ${timeout} ms`)), timeout)
    await step('pipeline ran', async () => {
      await run.run().finally(() => clearTimeout(late))
      const { meters } = run.built
      return [undefined, `${meters.sum('source', 'in')} in, ${meters.sum('sink', 'out')} out`]
    })
    await step('metrics server', async () => {
      const url = `http://127.0.0.1:${server.port}`
      const [health, metrics] = await Promise.all(['health', 'metrics'].map(path => fetch(`${url}/${path}`)))
      const body = (await readUpTo(metrics.body, 16 * ANSWER_BYTES))?.toString() ?? ''
      if (!health.ok || !metrics.ok) throw new Wrong(`/health ${health.status}, /metrics ${metrics.status}`)
      const published = new RegExp(`^kafka_messages_published_total\\{.*topic="${output}".*\\} ${COUNT}$`, 'm')
      if (!published.test(body)) throw new Wrong(`kafka_messages_published_total of ${output} is not ${COUNT}`)
      return [undefined, `${url}/metrics`]
    })
  } finally {
    await server.detach()
  }
}

async function compare(driver: Driver, topic: string): Promise<string> {
  let bytes = 0
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const expected = records(topic).filter(r => r.partition === partition)
    const found: { key: string | null; payload: Buffer | null; time: number }[] = []
    const [end] = (await driver.offsets([{ topic, partition }], 'latest')).values()
    for (let at = 0; at < end; ) {
      const batch = await driver.read({ topic, partition }, at, { format: 'bytes', isolation: 'read_committed' })
      found.push(...batch.messages.map(m => ({ key: m.key, payload: m.payload, time: m.time })))
      if (batch.nextOffset === at) break
      at = batch.nextOffset
    }
    if (found.length !== expected.length) throw new Wrong(`${topic}/${partition} has ${found.length} records, not ${expected.length}`)
    expected.forEach(({ key, value, time }, i) => {
      const want = `${value.slice(0, -1)},"twice":${(JSON.parse(value) as { n: number }).n * 2}}`
      const got = found[i].payload?.toString()
      if (got !== want || found[i].key !== key || found[i].time !== time)
        throw new Wrong(`record ${i} of ${topic}/${partition} is ${found[i].key} ${got}, not ${key} ${want}`)
      bytes += want.length
    })
  }
  return `${COUNT} records, ${bytes} bytes, each as expected`
}

async function committed(driver: Driver, group: string, topic: string): Promise<string> {
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition }))
  const [offsets, ends] = await Promise.all([driver.committed(group, partitions), driver.offsets(partitions, 'latest')])
  for (const [key, end] of ends) {
    const at = offsets.get(key)?.offset
    if (at !== end) throw new Wrong(`${key} is committed at ${at ?? 'nothing'}, but its end is ${end}`)
  }
  return `group ${group}, lag 0`
}
