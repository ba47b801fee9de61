/** A run continues from a checkpoint only with the same steps and the same records. Any difference is an error before the first read. */
import { describe, expect, test } from 'vitest'
import {
  type Checkpoint,
  defineTransform,
  EnvironmentError,
  type Json,
  type LaneOrigin,
  type Logger,
  type TransformPlugin,
} from '../../src/contract/plugin.ts'
import { RESET, stateOwner } from '../../src/kit/state-owner.ts'
import type { Pipeline } from '../../src/config/model.ts'
import { silentLogger } from '../../src/runtime/telemetry/log.ts'
import { MANIFEST_STORE } from '../../src/runtime/state.ts'
import { MemoryLog, pipelineOf, start, step } from './harness.ts'

interface CountConfig {
  readonly key: string
  readonly size?: number
  readonly free?: number
}

/** Emits each record with the count of its key. */
const count: TransformPlugin = defineTransform<CountConfig>({
  type: 'count',
  schema: {},
  stateful: true,
  stateShape: ({ key, size }) => ({ key, size }) as Json,
  create: (config, ctx) => {
    const seen = ctx.state<number>('seen')
    return {
      process(messages, out) {
        for (const m of messages) {
          const n = (seen.get(config.key) ?? 0) + 1
          seen.set(config.key, n)
          out.emit(m.derive(n))
        }
      },
    }
  },
})

class World {
  origin: LaneOrigin = { id: 'topic-1', start: 0, initial: 0, lanes: 1 }
  readonly records: number[] = []
  readonly log: MemoryLog

  constructor(former?: Checkpoint) {
    this.log = new MemoryLog({ lanes: { a: this.records }, batch: () => 10, origin: () => this.origin, former })
  }

  /** @returns the output of this run. @throws the error that stopped it */
  async run(
    records: number,
    config: CountConfig,
    over: { name?: string; pipeline?: Partial<Pipeline>; fresh?: boolean; log?: Logger } = {},
  ): Promise<number[]> {
    for (let i = 0; i < records; i++) this.records.push(this.records.length)
    const before = this.log.committed.length
    const transforms = [step(over.name ?? 'count', count, config)]
    await start(pipelineOf(this.log, [], { transforms, ...over.pipeline }), { fresh: over.fresh, log: over.log ?? silentLogger }).run()
    return this.log.committed.slice(before).map(r => Number(r.value))
  }
}

const refusal = async (run: Promise<unknown>): Promise<string> => {
  const error = await run.then(() => undefined).catch((e: Error) => e)
  expect(error).toBeInstanceOf(EnvironmentError)
  return error!.message
}

describe('steps', () => {
  test('a restart with the same steps, and with changed settings that do not affect the result, continues', async () => {
    const w = new World()
    expect(await w.run(2, { key: 'k', free: 1 })).toEqual([1, 2])
    expect(await w.run(1, { free: 2, key: 'k' })).toEqual([3])
  })

  test.each([
    ['another key', { key: 'other' }, {}, /key: the state was made with "k", the file has "other"/],
    ['another size', { key: 'k', size: 5 }, {}, /size: the state was made with nothing, the file has 5/],
    [
      'another name',
      { key: 'k' },
      { name: 'renamed' },
      /step count \(count\) holds 1 entries of state; the file has no stateful step with that name/,
    ],
    ['a removed step', { key: 'k' }, { pipeline: { transforms: [] } }, /the file has no stateful step/],
  ])('%s is an error with both sides and the ways to continue', async (_, config, over, expected) => {
    const w = new World()
    await w.run(2, { key: 'k' })
    const message = await refusal(w.run(1, config as CountConfig, over))
    expect(message).toMatch(expected)
    expect(message).toMatch(/--fresh[^]*raise version \(now 1\)[^]*name \(now test\) or group/)
    expect(w.log.committed).toHaveLength(2)
    // The checkpoint is unchanged: the former file continues.
    expect(await w.run(0, { key: 'k' })).toEqual([3])
  })

  test('--fresh starts from the beginning and deletes the old state', async () => {
    const w = new World()
    await w.run(2, { key: 'k' })
    expect(await w.run(1, { key: 'other' }, { fresh: true })).toEqual([1, 2, 3])
    expect(
      [...w.log.checkpoints.get('a')!.state.values()].map(([store, key, json]) => store === MANIFEST_STORE || [store, key, json]),
    ).toEqual([true, ['count.seen', 'other', '3']])
    expect(await w.run(1, { key: 'other' })).toEqual([4])
  })

  test('a lane whose pipeline was not reset completely is an error, and --fresh continues', async () => {
    const w = new World()
    await w.run(2, { key: 'k' })
    const { state } = w.log.checkpoints.get('a')!
    for (const [id, [store, key, json]] of state)
      if (store === MANIFEST_STORE) state.set(id, [store, key, JSON.stringify({ ...JSON.parse(json), unfinished: true })])
    expect(await refusal(w.run(1, { key: 'k' }))).toMatch(/a reset of this pipeline was interrupted[^]*--fresh/)
    expect(await w.run(0, { key: 'k' }, { fresh: true })).toEqual([1, 2, 3])
    expect(await w.run(1, { key: 'k' })).toEqual([4])
  })

  test('a checkpoint of 0.1.0 with a step that was renamed during the upgrade is an error', async () => {
    const w = new World()
    await w.run(2, { key: 'k' })
    const { state } = w.log.checkpoints.get('a')!
    for (const [id, [store]] of state) if (store === MANIFEST_STORE) state.delete(id)
    expect(await refusal(w.run(1, { key: 'k' }, { name: 'renamed' }))).toMatch(/has state of step count/)
  })

  test('a checkpoint of 0.1.0, which has no record of its steps, is adopted once', async () => {
    const w = new World()
    await w.run(2, { key: 'k' })
    const { state } = w.log.checkpoints.get('a')!
    for (const [id, [store]] of state) if (store === MANIFEST_STORE) state.delete(id)
    expect(await w.run(1, { key: 'k' })).toEqual([3])
    await refusal(w.run(1, { key: 'other' }))
  })
})

describe('records', () => {
  test('a recreated topic is read from its beginning if no state depends on the old one', async () => {
    const w = new World()
    const stateless = { transforms: [] }
    await w.run(3, { key: 'k' }, { pipeline: stateless })
    w.origin = { ...w.origin, id: 'topic-2' }
    expect(await w.run(2, { key: 'k' }, { pipeline: stateless })).toEqual([0, 1, 2, 3, 4])
    expect(await w.run(1, { key: 'k' }, { pipeline: stateless })).toEqual([5])
  })

  test('a recreated topic is an error if state depends on the old one', async () => {
    const w = new World()
    await w.run(3, { key: 'k' })
    w.origin = { ...w.origin, id: 'topic-2' }
    expect(await refusal(w.run(1, { key: 'k' }))).toMatch(/a was deleted and created again since the last run \(was topic-1, is topic-2\)/)
    expect(await w.run(0, { key: 'k' }, { fresh: true })).toEqual([1, 2, 3, 4])
  })
})

describe('records deleted by retention before they were read', () => {
  test('are an error if state would have a gap, and --fresh starts with the oldest record', async () => {
    const w = new World()
    await w.run(2, { key: 'k' })
    w.origin = { ...w.origin, start: 5, initial: 5 }
    expect(await refusal(w.run(5, { key: 'k' }))).toMatch(
      /the records of a from 2 to 4 were deleted before they were read \(retention\), and the state of count would miss them \(1 entries\)[^]*--fresh/,
    )
    expect(await w.run(0, { key: 'k' }, { fresh: true })).toEqual([1, 2])
  })

  test('are logged if there is no state, and reading continues', async () => {
    const w = new World()
    const stateless = { transforms: [] }
    await w.run(2, { key: 'k' }, { pipeline: stateless })
    w.origin = { ...w.origin, start: 5 }
    const warnings: string[] = []
    const log = { debug() {}, info() {}, error() {}, warn: (_: object, text: string) => void warnings.push(text) }
    await start(pipelineOf(w.log, [], stateless), { log }).run()
    expect(warnings).toEqual(['the records of a from 2 to 4 were deleted before they were read (retention); reading continues'])
  })
})

describe('a group with a committed position, and no checkpoint', () => {
  const lost = async (owner: string | null, pipeline: Partial<Pipeline> = {}) => {
    const w = new World()
    w.origin = { ...w.origin, remembered: { owner, position: 0 } }
    return w.run(2, { key: 'k' }, { pipeline })
  }

  test('of this pipeline or of unknown origin: an error', async () => {
    expect(await refusal(lost(stateOwner('test.1')))).toMatch(/its state is missing \(steps count; expected under test.1\)/)
    expect(await refusal(lost(null))).toMatch(/partial windows/)
  })

  test('of an older version: starts from the oldest record', async () => {
    expect(await lost('test.1', { version: 2 })).toEqual([1, 2])
  })

  test('set by `runner offsets reset`, or without state: starts from that position', async () => {
    expect(await lost(RESET)).toEqual([1, 2])
    expect(await lost(null, { transforms: [] })).toEqual([0, 1])
  })
})

describe('state that 0.1.0 stored by name and version, without the group', () => {
  const former: Checkpoint = { position: 2, state: [['count.seen', 'k', '7']] }
  const upgrade = async (found: Checkpoint, position: number, config: CountConfig = { key: 'k' }) => {
    const w = new World(found)
    w.records.push(0, 1)
    w.origin = { ...w.origin, remembered: { owner: null, position } }
    return { w, out: w.run(1, config) }
  }

  test('is adopted if it ends at the position of the group, and then belongs to the group', async () => {
    const { w, out } = await upgrade(former, 2)
    expect(await out).toEqual([8])
    await refusal(w.run(1, { key: 'other' }))
    expect(await w.run(0, { key: 'k' })).toEqual([9])
  })

  test('is an error if it ends at another position: another group has used it', async () => {
    const { w, out } = await upgrade(former, 1)
    expect(await refusal(out)).toMatch(/ends at 2, but group undefined has read up to 1[^]*--fresh/)
    expect(w.log.checkpoints.size).toBe(0)
  })

  test('is an error if it contains state of a step that the file does not have', async () => {
    const { out } = await upgrade({ position: 2, state: [['windows.open', 'k', '7']] }, 2)
    expect(await refusal(out)).toMatch(/state of step windows; the file has no stateful step with that name \(it has count\)/)
  })
})

test('state belongs to name, version and group; a group with the name of the pipeline is omitted', () => {
  expect([stateOwner('bars.1'), stateOwner('bars.1', 'bars'), stateOwner('bars.1', 'shadow')]).toEqual([
    'bars.1',
    'bars.1',
    'bars.1.shadow',
  ])
})

test('another program has set the offset of the group: the checkpoint takes precedence, and a warning shows both positions', async () => {
  const w = new World()
  expect(await w.run(2, { key: 'k' })).toEqual([1, 2])
  w.origin = { ...w.origin, remembered: { owner: null, position: 0 } }
  const warnings: object[] = []
  const log = { ...silentLogger, warn: (fields: object, message: string) => void warnings.push({ ...fields, message }) }
  expect(await w.run(1, { key: 'k' }, { log })).toEqual([3])
  expect(warnings).toEqual([
    expect.objectContaining({ set: 0, checkpoint: 2, message: expect.stringContaining('use runner offsets reset') }),
  ])
})
