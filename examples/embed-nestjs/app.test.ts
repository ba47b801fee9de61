import 'reflect-metadata'
import { NestFactory } from '@nestjs/core'
import { expect, test } from 'vitest'
import { AppModule, OrdersService } from './app.module.ts'
import { PipelineService } from './pipeline.module.ts'

test('the pipeline starts with the application, and drains before the application has closed', async () => {
  const app = await NestFactory.createApplicationContext(AppModule.forRoot(), { logger: false })
  const orders = app.get(OrdersService)
  const pipeline = app.get(PipelineService)
  await orders.place({ customer: 'small', amount: 1 })
  // Counted with the next checkpoint: what is dropped has no output that hurries it.
  await expect.poll(() => pipeline.status()?.in).toBe(1)
  expect(pipeline.status()).toMatchObject({ pipeline: 'nest-orders', state: 'running', out: 0 })
  const placing = Promise.all(['a', 'b', 'c'].map(customer => orders.place({ customer, amount: 1000 })))
  await placing
  await app.close()
  await orders.finished()
  expect(orders.alerts).toEqual(['a', 'b', 'c'].map(customer => ({ customer, text: `large order of ${customer}` })))
  expect(pipeline.status()).toMatchObject({ state: 'ended', in: 4, out: 3 })
})
