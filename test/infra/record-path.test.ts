import { readFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { run } from 'pipeline-runner'
import { brokers, consume, createTopic, produce, unique } from '../support/kafka.ts'
import { tempDir } from '../support/runner.ts'

const root = join(import.meta.dirname, '../..')
/** Values, bytes and figures, and a watch that looks at keys: called on the way, and calling nothing of the way back. */
const LEAVES =
  /^src\/(kit|contract|expressions)\/|^src\/transforms\/(bars|lib)\/|^src\/runtime\/(telemetry\/|spread\.ts$)|\/kafka\/(codec\/numbers|dates|metrics|driver)\.ts$|\/produce\/topics\.ts$/
const RECORDS = 1000

/** Calls of each function of src/ since the last look. */
async function calls(session: Session): Promise<Map<string, number>> {
  const { result } = await session.post('Profiler.takePreciseCoverage')
  const files = new Map<string, number>()
  for (const { url, functions } of result) {
    const file = relative(root, url.startsWith('file:') ? fileURLToPath(url) : url)
    if (!file.startsWith('src/')) continue
    // The function that starts at 0 is the module itself.
    const most = Math.max(0, ...functions.map(({ ranges: [whole] }) => (whole.startOffset === 0 ? 0 : whole.count)))
    if (most > 0) files.set(file, most)
  }
  return files
}

const rows = [...readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8').matchAll(/^\d+\. `(src\/[^`]+)`(.*)/gm)]
/** A row with "under `exactly_once`" names the file that is used instead. */
const way = (delivery: string): string[] =>
  rows.map(([, file, text]) => (delivery === 'exactly_once' && /under `exactly_once` `(src\/[^`]+)`/.exec(text)?.[1]) || file)

test.each(['at_least_once', 'exactly_once'])(
  '%s: a record passes the files that ARCHITECTURE.md lists, 20 from socket to socket',
  async delivery => {
    const files = way(delivery)
    expect(files).toHaveLength(20)
    expect(files.includes('src/connectors/kafka/client/producer.ts')).toBe(delivery === 'at_least_once')
    process.env.RUNNER_STATE_DIR = tempDir()
    const input = await createTopic()
    const output = await createTopic()
    // Every tick ends the bar of the one before it.
    const ticks = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({
        key: 'A',
        value: JSON.stringify({ symbol: 'A', price: '1.5', volume: 2, ts: 1_700_000_000_000 + (from + i) * 10_000 }),
      }))
    const session = new Session()
    session.connect()
    await session.post('Profiler.enable')
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
    const pipeline = await run({
      name: unique('path'),
      sources: [{ kafka: { brokers: brokers(), topics: [input], group: unique('g') } }],
      transforms: [{ bars: { interval: '10s', allowed_lateness: '0s', idle_timeout: '0s' } }],
      sinks: [{ kafka: { brokers: brokers(), topic: output, key: 'symbol' } }],
      delivery,
    })
    try {
      await produce(input, ticks(0, 10))
      await consume(output, 9)
      await calls(session)
      await produce(input, ticks(10, RECORDS))
      await consume(output, 9 + RECORDS)
      const ran = await calls(session)
      expect(files.filter(file => !ran.has(file))).toEqual([])
      const perRecord = [...ran].filter(([file, most]) => most >= RECORDS && !LEAVES.test(file)).map(([file]) => file)
      expect(perRecord.filter(file => !files.includes(file))).toEqual([])
    } finally {
      session.disconnect()
      await pipeline.stop()
    }
  },
)
