import { execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { afterEach, describe, expect, test } from 'vitest'
import { guard } from '../support/servers/guard.ts'
import { startKafka, type KafkaServer } from '../support/servers/kafka.ts'
import { brokerReady } from '../support/servers/ready.ts'
import { tempDir } from '../support/runner.ts'
import { eventually } from '../support/eventually.ts'

const alive = (pid: number) => existsSync(`/proc/${pid}`)

describe('a broker of one test', () => {
  let kafka: KafkaServer | undefined
  afterEach(async () => await kafka?.stop())

  const list = (server: KafkaServer) => execFileSync('kcat', ['-L', '-b', server.brokers, '-m', '5'], { encoding: 'utf8' })
  const write = (server: KafkaServer, value: string) =>
    execFileSync('kcat', ['-P', '-b', server.brokers, '-t', 'kept', '-p', '0'], { input: value })
  const readAll = (server: KafkaServer) =>
    execFileSync('kcat', ['-C', '-q', '-e', '-b', server.brokers, '-t', 'kept'], { encoding: 'utf8' })

  test('keeps its data over kill and restart, and responds again after a pause', async () => {
    kafka = await startKafka()
    const first = kafka.pid
    write(kafka, 'before')
    await kafka.kill()
    expect(alive(first)).toBe(false)
    expect(kafka.pid).toBe(0)
    await expect(brokerReady(kafka.port, 300)).rejects.toThrow('ECONNREFUSED')
    await kafka.restart()
    expect(kafka.pid).not.toBe(first)
    kafka.pause()
    await expect(brokerReady(kafka.port, 300)).rejects.toThrow('not ready')
    kafka.resume()
    await brokerReady(kafka.port, 10_000)
    write(kafka, 'after')
    expect(readAll(kafka)).toBe('before\nafter\n')
    expect(list(kafka)).toContain(`at ${kafka.brokers}`)
    const last = kafka.pid
    await kafka.stop()
    expect(alive(last)).toBe(false)
  })

  test('reports why it does not start', async () => {
    await expect(startKafka({ properties: { 'num.io.threads': 'many' } })).rejects.toThrow(/num\.io\.threads/)
  })
})

test('a guarded child and its directory are removed when the guarding process is killed', async () => {
  const dir = tempDir({ file: '' })
  const code = `
    import { guard } from ${JSON.stringify(new URL('../support/servers/guard.ts', import.meta.url).href)}
    import { spawn } from 'node:child_process'
    const child = spawn('sleep', ['600'], { stdio: 'ignore', detached: true })
    guard(child.pid, ${JSON.stringify(dir)})
    console.log(child.pid)
    setInterval(() => {}, 1000)`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  const pid = Number(await new Promise(resolve => parent.stdout.once('data', resolve)))
  expect(alive(pid)).toBe(true)
  parent.kill('SIGKILL')
  await eventually(() => {
    expect(alive(pid)).toBe(false)
    expect(existsSync(dir)).toBe(false)
  })
})

test('a released guard does not stop the child', async () => {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' })
  await guard(child.pid!).release()
  expect(alive(child.pid!)).toBe(true)
  child.kill()
})
