import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import type { Json } from 'pipeline-runner'
import { buildServer } from './server.ts'

test('accepted orders are processed before the server has closed', async () => {
  const alerts: Json[] = []
  const rejected: Json[] = []
  const app = await buildServer({ onAlert: a => void alerts.push(a), onRejected: r => void rejected.push(r.value) })
  await app.listen({ port: 0 })
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  const post = (order: Json) =>
    fetch(`${url}/orders`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(order) })

  const orders = Array.from({ length: 50 }, (_, n) => ({ customer: `c${n}`, amount: n % 2 === 0 ? 1000 : 1 }))
  for (const order of [...orders, { customer: 'nobody' }]) expect((await post(order)).status).toBe(202)
  expect((await fetch(`${url}/ready`)).status).toBe(200)
  expect(await (await fetch(`${url}/metrics`)).text()).toContain('runner_step_messages_in_total{pipeline="orders"')
  await app.close()

  expect(alerts).toEqual(
    orders.filter(o => o.amount >= 1000).map(o => ({ customer: o.customer, amount: 1000, text: `large order of ${o.customer}` })),
  )
  expect(rejected).toEqual([{ customer: 'nobody' }])
})

test('two servers in one process would share a pipeline name: the second is refused', async () => {
  const first = await buildServer()
  await expect(buildServer()).rejects.toThrow("a pipeline named 'orders' already runs in this process")
  await first.close()
  await (await buildServer()).close()
})
