/**
 * Windows in two branches, one of which ends in its own sink, while the process is killed with SIGKILL. Every record counts once, in its
 * branch only.
 */
import { expect, test } from 'vitest'
import { type Backend, embeddedBackend, kafkaBackend } from '../e2e/lib/backend.ts'
import { startRunner, tempDir, type Runner } from '../support/runner.ts'

const RECORDS = 4_000
const USERS = 7
const KINDS = ['buy', 'sell', 'note']

test.each(['embedded', 'kafka'] as const)(
  '%s: killed in the middle, every record counts once in its branch',
  { timeout: 180_000 },
  async name => {
    const cwd = tempDir()
    const backend: Backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    try {
      const [input, output, sells, dead] = [
        await backend.topic('orders', 2),
        await backend.topic('counts'),
        await backend.topic('sells'),
        await backend.topic('dead'),
      ]
      const window =
        'window: { size: 10s, by: user, time: ts, allowed_lateness: 0s, idle_timeout: 0s, on_late: dlq, aggregates: { n: { count: "*" }, sum: { sum: i } } }'
      const file = `${tempDir({
        'p.yaml': `name: ${output}
sources:
  - kafka: { topics: [${input}], session_timeout: 6s }
    keyed_by: user
transforms:
  - name: kinds
    route:
      - { name: buy, when: kind == "buy", steps: [{ ${window} }] }
      - { name: sell, when: kind == "sell", steps: [{ ${window} }], to: sells }
sinks:
  - { name: out, kafka: { topic: ${output} } }
  - { name: sells, kafka: { topic: ${sells} } }
dlq: { kafka: { topic: ${dead} } }
delivery: exactly_once
`,
      })}/p.yaml`
      const start = (args: string[] = []): Runner => startRunner(['run', file, ...args], { cwd, env: backend.env })
      const counts = { buy: new Map<string, string>(), sell: new Map<string, string>() }
      const notes: number[] = []
      const sums = new Map<string, [n: number, sum: number]>()
      const records = Array.from({ length: RECORDS }, (_, i) => {
        const [user, kind, ts] = [`u${i % USERS}`, KINDS[i % 3], i * 50]
        if (kind === 'note') notes.push(i)
        else {
          const id = `${user} ${ts - (ts % 10_000)}`
          const [n, sum] = sums.get(`${kind} ${id}`) ?? [0, 0]
          sums.set(`${kind} ${id}`, [n + 1, sum + i])
          counts[kind as 'buy' | 'sell'].set(id, `${n + 1} ${sum + i}`)
        }
        return { key: user, value: JSON.stringify({ user, kind, ts, i }), partition: (i % USERS) % 2 }
      })
      await backend.produce(input, records.slice(0, RECORDS / 2))
      const runner = start()
      await backend.waitFor(output, 100)
      runner.kill('SIGKILL')
      await runner.exited
      // One more of each kind and partition, a day later: it closes all windows of its branch.
      const ends = ['buy', 'sell'].flatMap(kind =>
        [0, 1].map(partition => ({
          key: 'end',
          value: JSON.stringify({ user: 'end', kind, ts: 86_400_000 + RECORDS * 50, i: 0 }),
          partition,
        })),
      )
      await backend.produce(input, [...records.slice(RECORDS / 2), ...ends])
      await start(['--until-idle', '2s']).exit(0)

      const rows = async (topic: string) => (await backend.readAll(topic)).map(r => JSON.parse(String(r.value)) as Record<string, any>)
      const windows = (list: Record<string, any>[]) => list.filter(r => r.n !== undefined).map(r => `${r.key} ${r.start}: ${r.n} ${r.sum}`)
      const expected = (of: Map<string, string>) => [...of].map(([id, row]) => `${id}: ${row}`).toSorted()
      const joined = await rows(output)
      expect(windows(joined).toSorted()).toEqual(expected(counts.buy))
      expect(
        joined
          .filter(r => r.n === undefined)
          .map(r => r.i as number)
          .toSorted((a, b) => a - b),
      ).toEqual(notes)
      expect(windows(await rows(sells)).toSorted()).toEqual(expected(counts.sell))
      expect(await rows(dead)).toEqual([])
    } finally {
      await backend.close()
    }
  },
)
