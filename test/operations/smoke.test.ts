import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { brokers } from '../support/brokers.ts'
import { runRunner, tempDir } from '../support/runner.ts'

const smoke = (env: Record<string, string | undefined>, ...args: string[]) => runRunner(['smoke', ...args], { env, cwd: tempDir() })

test('without a broker: tests the pipeline only, reports that, and leaves no files', async () => {
  const { code, stdout, cwd } = await smoke({ KAFKA_BROKERS: undefined })
  expect(code).toBe(0)
  const lines = stdout.trim().split('\n')
  expect(lines.map(l => l.split(':')[0])).toEqual([
    'wiring only',
    '✓ ok      connection',
    '✓ ok      topics created',
    '✓ ok      records produced',
    '✓ ok      pipeline built',
    '✓ ok      pipeline ran',
    '✓ ok      metrics server',
    '✓ ok      output',
    '✓ ok      offsets committed',
    '✓ ok      topics deleted',
    'the wiring works; to test end to end, set KAFKA_BROKERS',
  ])
  expect((await smoke({ KAFKA_BROKERS: undefined }, '--quiet')).stdout).toBe(`${lines.at(-1)}\n`)
  expect(existsSync(`${cwd}/.runner`)).toBe(false)
})

test('with Kafka: tests end to end, and deletes its topics afterwards, also after a failure', async () => {
  const env = { KAFKA_BROKERS: brokers() }
  const good = await smoke(env, '--json')
  expect(good.code, good.stdout).toBe(0)
  const late = await smoke(env, '--timeout', '1ms')
  expect(late.code, late.stdout).toBe(4)
  expect(late.stdout).toMatch(/^✗ FAILED {2}pipeline ran: not done within 1 ms$/m)
  expect(late.stdout).toMatch(/^✓ ok {6}topics deleted: /m)
  const made = [good.stdout, late.stdout].flatMap(text => text.match(/runner-smoke-\w+-in/g) ?? [])
  expect(new Set(made).size).toBe(2)
  const { stdout } = await runRunner(['topics', 'list'], { env })
  for (const topic of made) expect(stdout).not.toContain(topic)
})

test('an unreachable broker is exit code 3, a wrong setting exit code 2', async () => {
  const away = await smoke({ KAFKA_BROKERS: '127.0.0.1:1' })
  expect(away.code).toBe(3)
  expect(away.stdout).toMatch(/^✗ FAILED {2}connection: .*127\.0\.0\.1:1/m)
  expect((await smoke({ KAFKA_BROKERS: 'localhost' })).code).toBe(2)
})
