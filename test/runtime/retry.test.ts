/** Transforms whose peer becomes unreachable: no record is lost, dead-lettered, duplicated or counted twice. */
import { describe, expect, it } from 'vitest'
import { ConnectionError, defineTransform, EnvironmentError, type TransformPlugin } from '../../src/contract/plugin.ts'
import { MemoryLog, type MemoryLogOptions, pipelineOf, start } from './harness.ts'

const values = Array.from({ length: 100 }, (_, v) => ({ v }))

/** Counts messages in its state. */
const counting = defineTransform({
  type: 'counting',
  schema: {},
  stateful: true,
  create: (_config, ctx) => {
    const state = ctx.state<number>('n')
    return {
      process(messages, out) {
        for (const m of messages) {
          state.set('n', (state.get('n') ?? 0) + 1)
          out.emit(m.derive({ ...(m.value as object), n: state.get('n')! }))
        }
      },
    }
  },
}) as TransformPlugin

/** Calls a peer, which is unreachable while `away` is true, after it has emitted half of the batch. */
const asking = (away: () => Error | undefined, sync = false): TransformPlugin =>
  defineTransform({
    type: 'asking',
    schema: {},
    ports: () => ['half'],
    create: () => ({
      process(messages, out) {
        const work = (): void => {
          const error = away()
          messages.forEach((m, i) => {
            if (error && i >= messages.length / 2) throw error
            out.emit(m)
            if (i === 0) out.emitTo('half', m)
          })
          if (error) throw error
        }
        return sync ? work() : Promise.resolve().then(work)
      },
    }),
  }) as TransformPlugin

/** Every third call fails, twice or so in a row. */
const flaky = (): (() => Error | undefined) => {
  let calls = 0
  return () => (calls++ % 3 === 2 ? undefined : new ConnectionError('peer gone'))
}

/** A source that cannot be read again. */
function unseekable(options: MemoryLogOptions): { log: MemoryLog; source: ReturnType<MemoryLog['source']> } {
  const log = new MemoryLog(options)
  const plugin = log.source()
  const { create } = plugin
  plugin.create = (config, ctx) => ({ ...create(config, ctx), seek: undefined })
  return { log, source: { ...plugin, replayable: false, transactions: undefined } }
}

describe.each([
  [true, true, false],
  [true, false, false],
  [false, true, false],
  [false, false, false],
  [true, true, true],
])('a transform whose peer is unreachable (replayable: %s, state: %s, sync: %s)', (replayable, stateful, sync) => {
  it('makes the batch wait, and every message is written once', async () => {
    const options = { lanes: { a: values, b: values }, batch: () => 7 }
    const { log, source } = replayable ? { log: new MemoryLog(options), source: undefined } : unseekable(options)
    const transforms = [...(stateful ? [counting] : []), asking(flaky(), sync)]
    const pipeline = pipelineOf(log, transforms, { delivery: replayable ? 'exactly_once' : 'at_least_once' })
    const sources = source ? [{ ...pipeline.sources[0], plugin: source }] : pipeline.sources
    await start({ ...pipeline, sources }).run()
    expect(log.dead).toEqual([])
    for (const lane of ['a', 'b']) {
      const wanted = values.map(({ v }, i) => JSON.stringify(stateful ? { v, n: i + 1 } : { v }))
      expect(log.committed.filter(r => r.lane === lane).map(r => r.value)).toEqual(wanted)
    }
  })

  it('does not delay the end of a run whose input can be read again', async () => {
    const options = { lanes: { a: values }, batch: () => 10, endless: true }
    const { log, source } = replayable ? { log: new MemoryLog(options), source: undefined } : unseekable(options)
    let calls = 0
    const transforms = [...(stateful ? [counting] : []), asking(() => (calls++ < 3 ? undefined : new ConnectionError('peer gone')), sync)]
    const over = { delivery: replayable ? ('exactly_once' as const) : ('at_least_once' as const), shutdown_timeout: 200 }
    const pipeline = pipelineOf(log, transforms, over)
    const sources = source ? [{ ...pipeline.sources[0], plugin: source }] : pipeline.sources
    const run = start({ ...pipeline, sources })
    const ended = run.run().then(
      () => 'fine',
      (error: Error) => error.message,
    )
    await expect.poll(() => calls).toBeGreaterThan(6)
    run.stop()
    expect(await ended).toMatch(replayable ? 'fine' : /not drained/)
    expect(log.dead).toEqual([])
    if (!replayable) return
    // A later run reads the missing records, without a gap and without a repetition.
    const again = new MemoryLog({ lanes: { a: values }, batch: () => 10 })
    for (const [id, checkpoint] of log.checkpoints) again.checkpoints.set(id, checkpoint)
    again.committed.push(...log.committed)
    await start(pipelineOf(again, [...(stateful ? [counting] : []), asking(() => undefined)])).run()
    expect(again.committed.map(r => r.value)).toEqual(values.map(({ v }, i) => JSON.stringify(stateful ? { v, n: i + 1 } : { v })))
  })
})

it('an EnvironmentError of a transform ends the run and dead-letters no record', async () => {
  const log = new MemoryLog({ lanes: { a: values }, batch: () => 10 })
  const run = start(pipelineOf(log, [asking(() => new EnvironmentError('no such table'))])).run()
  await expect(run).rejects.toThrow('no such table')
  expect(log.dead).toEqual([])
})
