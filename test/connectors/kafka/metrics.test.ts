import { expect, test } from 'vitest'
import { Meter } from '../../../src/connectors/kafka/metrics.ts'
import { Meters } from '../../../src/runtime/telemetry/meters.ts'

test('topics chosen by records: the first 200 are counted by name, the others together without their names', () => {
  const meters = new Meters('test')
  const meter = new Meter(meters)
  for (let i = 0; i < 1000; i++) meter.deliveryErrors(`t${i}`).inc()
  for (let i = 0; i < 1000; i++) meter.deliveryErrors(`t${i}`).inc()
  const samples = [...meters.families.get('kafka_delivery_errors_total')!.samples.values()]
  expect(samples).toHaveLength(201)
  expect(samples.find(s => s.labels.topic === 't0')?.value).toBe(2)
  expect(samples.find(s => s.labels.topic === 'other')?.value).toBe(1600)
  expect((meter as unknown as { children: Map<string, unknown> }).children.size).toBe(201)
})
