import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import trigger from '../../../src/connectors/trigger/source.ts'
import { TriggerQueue } from '../../../src/connectors/trigger/queue.ts'
import { fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { sourceConformance } from '../../conformance/source.ts'
import { runRunner, startRunner, tempDir } from '../../support/runner.ts'

const before = process.env.RUNNER_STATE_DIR
beforeEach(() => void (process.env.RUNNER_STATE_DIR = tempDir()))
afterAll(() => {
  if (before === undefined) delete process.env.RUNNER_STATE_DIR
  else process.env.RUNNER_STATE_DIR = before
})
const { signal } = new AbortController()

sourceConformance('trigger', {
  plugin: trigger,
  async prepare(records) {
    const queue = await TriggerQueue.open('test', 'trigger')
    for (const r of records) await queue.put(r, 'k', 1)
    queue.close()
    return { config: { once: true } }
  },
  prepareEndless: async () => ({ once: false }),
})

describe('trigger', () => {
  test('wakes for its own trigger while it waits, not for others; a commit removes the trigger', async () => {
    const source = trigger.create({ once: false }, fakeSourceContext('trigger'))
    await source.open!(signal)
    const read = source.read(signal)
    const others = await TriggerQueue.open('test', 'other')
    await others.put('1', null, 1)
    const queue = await TriggerQueue.open('test', 'trigger')
    const id = await queue.put('{"a":1}', null, 5)
    const batch = (await read)!
    expect(batch.messages.map(m => [m.offset, m.key, m.value, m.time])).toEqual([[id, null, { a: 1 }, 5]])
    expect(queue.holds(id)).toBe(true)
    await source.commit!('trigger', batch.position)
    expect([queue.holds(id), queue.holds(id - 1)]).toEqual([false, true])
    for (const q of [source, queue, others]) await q.close!()
  })
})

const PIPELINE = `
name: promote
sources: [ { trigger: {} } ]
sinks: [ { file: { path: out.jsonl } } ]
dlq: { file: { path: dlq.jsonl } }
`

describe('runner trigger', () => {
  test('a trigger before, during and after a killed run is processed once each', async () => {
    const cwd = tempDir({ 'p.yaml': PIPELINE })
    const env = { RUNNER_STATE_DIR: undefined }
    const send = (...args: string[]) => runRunner(['trigger', 'p.yaml', ...args], { cwd, env })
    expect(await send('--data', '{"n":1}')).toMatchObject({ code: 0, stdout: '✓ ok      trigger 1 is queued for promote/trigger\n' })
    expect(await send('--data', '{"n":2}', '--wait', '10ms')).toMatchObject({ code: 4, stderr: expect.stringContaining('is still queued') })
    const first = startRunner(['run', 'p.yaml'], { cwd, env })
    expect(await send('--data', '{"n":3}', '--wait', '20s')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('trigger 3 is done'),
    })
    first.kill('SIGKILL')
    await first.exited
    await send('--data', '{"n":4}')
    const second = await runRunner(['run', 'p.yaml', '--set', 'sources[0].trigger.once=true'], { cwd, env })
    expect(second.code).toBe(0)
    const { readFileSync } = await import('node:fs')
    expect(
      readFileSync(`${cwd}/out.jsonl`, 'utf8')
        .trim()
        .split('\n')
        .map(l => JSON.parse(l).n),
    ).toEqual([1, 2, 3, 4])
  })

  test('errors are reported', async () => {
    const cwd = tempDir({
      'p.yaml': PIPELINE,
      'two.yaml': PIPELINE.replace('{ trigger: {} }', '{ name: a, trigger: {} }, { name: b, trigger: {} }'),
      'none.yaml': PIPELINE.replace('trigger: {}', 'stdin: {}'),
    })
    const error = async (...args: string[]) => {
      const { code, stderr } = await runRunner(['trigger', ...args], { cwd })
      return [code, stderr.trim()]
    }
    expect(await error('p.yaml', '--data', '{')).toEqual([2, expect.stringContaining('--data: malformed JSON at column 2: expected a key')])
    expect(await error('two.yaml')).toEqual([2, 'error: several trigger sources: write --source a or --source b'])
    expect(await error('two.yaml', '--source', 'c')).toEqual([2, "error: promote has no trigger source 'c'; it has a, b"])
    expect(await error('none.yaml')).toEqual([2, expect.stringContaining('no trigger source')])
    expect(await error('absent.yaml')).toEqual([3, expect.stringContaining('absent.yaml')])
  })
})
