/** How a run ends. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { nodeOf } from '../support/nodes.ts'
import { startRunner, tempDir } from '../support/runner.ts'
import type { TestRecord } from '../support/kafka.ts'
import { type Backend, embeddedBackend, kafkaBackend } from './lib/backend.ts'
import { hangingSink } from './lib/plugins.ts'

const numbered = (from: number, to: number): TestRecord[] =>
  Array.from({ length: to - from }, (_, i) => ({ key: `k${(from + i) % 7}`, value: String(from + i), partition: (from + i) % 3 }))

describe.each(['kafka', 'embedded'] as const)('%s', name => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s drains: exit 0, and nothing is read twice afterwards, even with at least once',
    async signal => {
      const cwd = tempDir()
      const backend: Backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
      try {
        const input = await backend.topic('in', 3)
        const output = await backend.topic('out', 3)
        const file = tempDir({
          'mirror.yaml': `
name: ${output}
sources: [{ kafka: { topics: [${input}], group: ${output}, session_timeout: 6s } }]
sinks: [{ kafka: { topic: ${output} } }]
# So long that only the drain can have committed.
commit_interval: 1h
`,
        })
        const start = (...args: string[]) => startRunner(['run', `${file}/mirror.yaml`, ...args], { cwd, env: backend.env })
        let sent = 0
        let feeding = true
        const feed = (async () => {
          while (feeding) {
            await backend.produce(input, numbered(sent, sent + 200))
            sent += 200
            await sleep(5)
          }
        })()
        for (let life = 0; life < 3; life++) {
          const runner = start()
          await backend.waitFor(output, (await backend.readAll(output)).length + 1_000)
          runner.kill(signal)
          await runner.exit(0)
        }
        feeding = false
        await feed
        await start('--until-idle', '1s').exit(0)
        const got = (await backend.readAll(output)).map(r => Number(r.value)).toSorted((a, b) => a - b)
        const at = got.findIndex((n, i) => n !== i)
        expect({ count: got.length, at, around: got.slice(Math.max(0, at - 2), at + 2) }).toEqual({
          count: sent,
          at: -1,
          around: got.slice(0, 1),
        })
      } finally {
        await backend.close()
      }
    },
  )
})

describe('started by an older Node, which starts the right one', () => {
  let node: string
  beforeAll(() => {
    node = nodeOf(20)
  })

  const setup = async () => {
    const cwd = tempDir({ 'wait.yaml': 'name: wait\nsources: [{ kafka: { topics: [in-1], group: g } }]\nsinks: [{ stdout: {} }]\n' })
    const backend = embeddedBackend(cwd)
    const topic = await backend.topic('in')
    await backend.produce(topic, [{ value: '"works"' }])
    await backend.close()
    const outer = spawn(node, [fileURLToPath(new URL('../../bin/runner.js', import.meta.url)), 'run', 'wait.yaml'], {
      cwd,
      env: { ...process.env, KAFKA_BROKERS: '' },
    })
    const ended = once(outer, 'exit')
    await once(outer.stdout, 'data')
    const inner = Number(readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'utf8').trim())
    expect(inner).toBeGreaterThan(0)
    return { outer, inner, ended }
  }

  test('SIGTERM drains both', async () => {
    const { outer, inner, ended } = await setup()
    outer.kill('SIGTERM')
    expect(await ended).toEqual([0, null])
    expect(existsSync(`/proc/${inner}`)).toBe(false)
  })

  test('kill -9 of one process ends the other', async () => {
    const { outer, inner, ended } = await setup()
    outer.kill('SIGKILL')
    await ended
    await expect.poll(() => existsSync(`/proc/${inner}`)).toBe(false)
  })
})

describe('a sink that hangs', () => {
  const setup = async (shutdownTimeout: string) => {
    const cwd = tempDir({
      'hang.js': hangingSink,
      'hang.yaml': `
name: hang
plugins: [./hang.js]
sources: [{ kafka: { topics: [in-1], group: g } }]
sinks: [{ hang: {} }]
shutdown_timeout: ${shutdownTimeout}
`,
    })
    const backend = embeddedBackend(cwd)
    const topic = await backend.topic('in')
    // Enough to fill the lane, so that reading waits for room, too.
    for (let i = 0; i < 20; i++)
      await backend.produce(
        topic,
        numbered(i * 2000, (i + 1) * 2000).map(r => ({ ...r, partition: 0 })),
      )
    const runner = startRunner(['run', 'hang.yaml'], { cwd, env: backend.env })
    await runner.line('hanging')
    return { backend, topic, runner }
  }

  test('SIGTERM: exit 1 by shutdown_timeout, nothing acknowledged that was not written', async () => {
    const { backend, topic, runner } = await setup('2s')
    const start = Date.now()
    runner.kill('SIGTERM')
    await runner.exit(1)
    expect(Date.now() - start).toBeGreaterThan(1_500)
    expect(runner.stderr).toMatch(/not drained within shutdown_timeout/)
    expect(await backend.committed('g', topic)).toEqual(new Map())
    await backend.close()
  })

  test('a second signal ends the process immediately', async () => {
    const { backend, topic, runner } = await setup('10m')
    runner.kill('SIGTERM')
    await runner.line('draining')
    // Sooner it would pass for the same signal, sent on by a terminal and a tool both.
    await new Promise(resolve => setTimeout(resolve, 400))
    runner.kill('SIGTERM')
    await runner.exit(1)
    expect(await backend.committed('g', topic)).toEqual(new Map())
    await backend.close()
  })
})
