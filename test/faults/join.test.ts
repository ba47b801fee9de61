/** Orders and payments are joined behind `repartition`, while the process is killed with SIGKILL. Every pair is written once. */
import { expect, test } from 'vitest'
import { type Backend, embeddedBackend, kafkaBackend } from '../e2e/lib/backend.ts'
import { startRunner, tempDir, type Runner } from '../support/runner.ts'

const ORDERS = 1_500

test.each(['embedded', 'kafka'] as const)('%s: killed in the middle, every pair is written once', { timeout: 240_000 }, async name => {
  const cwd = tempDir()
  const backend: Backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
  try {
    const [orders, payments] = [await backend.topic('orders', 2), await backend.topic('payments', 2)]
    const [output, unpaid, dead] = [await backend.topic('paid'), await backend.topic('unpaid'), await backend.topic('dead')]
    const file = `${tempDir({
      'p.yaml': `name: ${output}
sources:
  - { name: orders, kafka: { topics: [${orders}], session_timeout: 6s } }
  - { name: payments, kafka: { topics: [${payments}], session_timeout: 6s } }
transforms:
  - repartition: { by: order, time: ts, idle_timeout: 0s, partitions: 2 }
  - join: { left: orders, right: payments, within: 10s, time: ts, allowed_lateness: 0s, idle_timeout: 0s, on_unmatched: port, on_late: dlq }
sinks:
  - { name: out, kafka: { topic: ${output} } }
  - { name: unpaid, kafka: { topic: ${unpaid} }, from: join.unmatched }
dlq: { kafka: { topic: ${dead} } }
delivery: exactly_once
`,
    })}/p.yaml`
    const start = (args: string[] = []): Runner => startRunner(['run', file, ...args], { cwd, env: backend.env })
    const at = (order: string, ts: number, partition: number) => ({ key: `${ts}`, value: JSON.stringify({ order, ts }), partition })
    const all = Array.from({ length: ORDERS }, (_, i) => i)
    // Every fifth order is not paid, and every seventh is paid too late.
    const isPaid = (i: number): boolean => i % 5 !== 0
    const delay = (i: number): number => (i % 7 === 0 ? 10_001 : (i * 37) % 10_000)
    const send = async (from: number, to: number): Promise<void> => {
      const part = all.slice(from, to)
      await backend.produce(
        orders,
        part.map(i => at(`o${i}`, i * 1000, i % 2)),
      )
      const paid = part.filter(isPaid).map(i => at(`o${i}`, i * 1000 + delay(i), (i >> 1) % 2))
      await backend.produce(
        payments,
        paid.toSorted((a, b) => Number(a.key) - Number(b.key)),
      )
    }
    await send(0, ORDERS / 2)
    const runner = start()
    await backend.waitFor(output, 50)
    runner.kill('SIGKILL')
    await runner.exited
    await send(ORDERS / 2, ORDERS)
    for (const topic of [orders, payments])
      await backend.produce(
        topic,
        [0, 1].map(p => at(`end-${topic}-${p}`, ORDERS * 1000 + 60_000, p)),
      )
    const last = start()
    const meets = all.filter(i => isPaid(i) && i % 7 !== 0)
    await backend.waitFor(output, meets.length)
    const alone = all.flatMap(i => (isPaid(i) ? (i % 7 === 0 ? [`o${i}`, `o${i}`] : []) : [`o${i}`]))
    await backend.waitFor(unpaid, alone.length)
    last.kill()
    await last.exit(0)

    const values = async (topic: string) => (await backend.readAll(topic)).map(r => JSON.parse(String(r.value)) as Record<string, any>)
    const pairs = (await values(output)).map(({ left, right }) => `${left.order} ${right.ts - left.ts}`)
    expect(pairs.toSorted()).toEqual(meets.map(i => `o${i} ${delay(i)}`).toSorted())
    expect((await values(unpaid)).map(v => v.order as string).toSorted()).toEqual(alone.toSorted())
    expect(await values(dead)).toEqual([])
  } finally {
    await backend.close()
  }
})
