/**
 * Records of one user lie in three partitions, and are counted by user and window behind `repartition`, while two processes are killed with
 * SIGKILL at random points. Every record counts once, and none is late.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type Backend, embeddedBackend, kafkaBackend } from '../e2e/lib/backend.ts'
import { seeded } from '../support/random.ts'
import { startRunner, tempDir, type Runner } from '../support/runner.ts'

const RECORDS = Number(process.env.FAULT_RECORDS ?? 20_000)
const KILLS = Number(process.env.FAULT_KILLS ?? 5)
const SEED = Number(process.env.FAULT_SEED ?? 20_261_129)
const PARTITIONS = 3
const USERS = 20
const TIMEOUT = 180_000 + KILLS * 15_000

test.each(['embedded', 'kafka'] as const)(
  `%s: ${KILLS} kills over ${RECORDS} records: nothing is lost or duplicated`,
  { timeout: TIMEOUT },
  async name => {
    const cwd = tempDir()
    const backend: Backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    try {
      const input = await backend.topic('orders', PARTITIONS)
      const output = await backend.topic('counts', 2)
      const dead = await backend.topic('dead')
      const file = `${tempDir({
        'p.yaml': `name: ${output}
sources:
  - kafka: { topics: [${input}], session_timeout: 6s }
transforms:
  - repartition: { by: user, time: ts, idle_timeout: 0s }
  # Nothing closes by silence, and no record may be late: the rows depend on the records alone.
  - window: { size: 10s, by: user, time: ts, allowed_lateness: 0s, idle_timeout: 0s, on_late: dlq, aggregates: { n: { count: "*" }, sum: { sum: i } } }
sinks:
  - kafka: { topic: ${output} }
dlq: { kafka: { topic: ${dead} } }
delivery: exactly_once
`,
      })}/p.yaml`
      const start = (args: string[] = []): Runner => startRunner(['run', file, '--log-level', 'debug', ...args], { cwd, env: backend.env })

      const random = seeded(SEED)
      const expected = new Map<string, [n: number, sum: number]>()
      const runners = [start(), start()]
      for (let i = 0; i < RECORDS; ) {
        const records = Array.from({ length: Math.min(RECORDS / (KILLS * 8), RECORDS - i) }, () => {
          const n = i++
          const user = `u${Math.floor(random() * USERS)}`
          const ts = n * 20
          const key = `${user} ${ts - (ts % 10_000)}`
          const [count, sum] = expected.get(key) ?? [0, 0]
          expected.set(key, [count + 1, sum + n])
          return { key: `order-${n}`, value: JSON.stringify({ user, ts, i: n }), partition: n % PARTITIONS, time: Date.now() }
        })
        await backend.produce(input, records)
        await sleep(60)
        if (i % (RECORDS / KILLS) === 0) {
          const k = Math.floor(random() * 2)
          runners[k].kill('SIGKILL')
          await runners[k].exited
          runners[k] = start()
        }
      }
      // One more of each partition, a day later: it closes all windows.
      await backend.produce(
        input,
        Array.from({ length: PARTITIONS }, (_, partition) => ({
          key: 'end',
          value: JSON.stringify({ user: 'end', ts: 86_400_000 + RECORDS * 20, i: 0 }),
          partition,
          time: Date.now(),
        })),
      )
      await backend.waitFor(output, expected.size, TIMEOUT)
      for (const runner of runners) runner.kill()
      // One that was started last may not have come to where it handles signals.
      for (const runner of runners) {
        const { code, signal } = await runner.exited
        expect([code, signal]).toEqual(signal === 'SIGTERM' ? [null, 'SIGTERM'] : [0, null])
      }

      const rows = (await backend.readAll(output)).map(
        r => JSON.parse(r.value!.toString()) as { key: string; start: number; n: number; sum: number },
      )
      expect((await backend.readAll(dead)).length, 'late records').toBe(0)
      expect(new Set(rows.map(r => `${r.key} ${r.start}`)).size, 'a window came twice').toBe(rows.length)
      expect(new Map(rows.map(r => [`${r.key} ${r.start}`, [r.n, r.sum]]))).toEqual(expected)
    } finally {
      await backend.close()
    }
  },
)
