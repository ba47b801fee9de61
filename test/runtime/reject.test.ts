/** A source that reports rejected records to its senders: a small one in memory, which records all its calls in one journal. */
import { describe, expect, test } from 'vitest'
import {
  BatchError,
  ConnectionError,
  DataError,
  defineSource,
  defineTransform,
  Message,
  type Rejection,
  type SourcePlugin,
  type TransformPlugin,
} from '../../src/contract/plugin.ts'
import { loadText } from '../../src/config/load.ts'
import type { Pipeline } from '../../src/config/model.ts'
import type { PipelineRun } from '../../src/runtime/pipeline.ts'
import { MemoryLog, pipelineOf, start, step } from './harness.ts'

interface Desk {
  readonly plugin: SourcePlugin
  /** In order: `write 1,2`, `dead 3`, `refuse 3`, `commit 4`. */
  readonly journal: string[]
  readonly rejections: Rejection[]
  submit(...values: readonly unknown[]): void
  end(): void
}

function desk({
  reports = true,
  commitImmediately = true,
  knows = () => true,
}: {
  reports?: boolean
  commitImmediately?: boolean
  knows?: (offset: number) => boolean
} = {}): Desk {
  const journal: string[] = []
  const rejections: Rejection[] = []
  const queue: unknown[][] = []
  let ended = false
  let wake = (): void => {}
  let next = 0
  const plugin = defineSource({
    type: 'desk',
    schema: {},
    replayable: false,
    reason: 'test',
    create: (_config, ctx) => ({
      commitImmediately,
      open: async () => void (await ctx.assign([{ id: 'desk', source: ctx.step }])),
      async read(signal) {
        while (queue.length === 0) {
          if (ended) return null
          signal.throwIfAborted()
          await new Promise<void>(resolve => {
            wake = resolve
            signal.addEventListener('abort', () => resolve(), { once: true })
          })
        }
        const origin = { lane: 'desk', source: ctx.step, format: 'json' } as const
        const messages = queue.shift()!.map(v => {
          const payload = Buffer.isBuffer(v) ? v : Buffer.from(JSON.stringify(v))
          return Message.fromRecord(payload, null, 1000, undefined, next++, origin)
        })
        return { lane: 'desk', messages, position: next }
      },
      async commit(_lane, position) {
        journal.push(`commit ${String(position)}`)
      },
      ...(reports && {
        reject(list: readonly Rejection[]) {
          rejections.push(...list)
          journal.push(`refuse ${list.map(r => r.message.offset).join(',')}`)
          return list.filter(r => !knows(r.message.offset))
        },
      }),
    }),
  }) as SourcePlugin
  return {
    plugin,
    journal,
    rejections,
    submit: (...values) => {
      queue.push([...values])
      wake()
    },
    end: () => {
      ended = true
      wake()
    },
  }
}

const picky = (over: Partial<TransformPlugin> = {}): TransformPlugin =>
  defineTransform({
    type: 'picky',
    schema: {},
    create: () => ({
      process(messages, out) {
        for (const m of messages) {
          const v = m.value as number
          if (v === 666) throw new TypeError('cannot take 666')
          if (v < 0) out.fail(m, new DataError(`${v} is negative`))
          else out.emit(m)
        }
      },
    }),
    ...over,
  }) as TransformPlugin

interface Scenario {
  readonly d: Desk
  readonly log: MemoryLog
  readonly run: PipelineRun
  readonly ended: Promise<void>
}

function scenario({
  d = desk(),
  dlq = false,
  transforms = [picky()],
  rejects = () => false,
  fault = () => {},
  over = {},
}: {
  d?: Desk
  dlq?: boolean
  transforms?: TransformPlugin[]
  rejects?: (v: number) => boolean
  fault?: () => void
  over?: Partial<Pipeline>
} = {}): Scenario {
  const log = new MemoryLog({ lanes: {}, batch: () => 1 })
  const base = pipelineOf(log, transforms, { delivery: 'at_least_once', commit_interval: 60_000, ...over })
  const pipeline = { ...base, sources: [step('in', d.plugin)], ...(!dlq && { dlq: undefined }) }
  pipeline.sinks[0].plugin.create = () => ({
    async write(messages) {
      fault()
      await new Promise(resolve => setTimeout(resolve, 5))
      const failed = new Map<number, Error>()
      messages.forEach((m, i) => rejects(m.value as number) && failed.set(i, new DataError('not here')))
      d.journal.push(
        `write ${messages
          .filter((_, i) => !failed.has(i))
          .map(m => String(m.encode()))
          .join(',')}`,
      )
      if (failed.size > 0) throw new BatchError(failed)
    },
  })
  if (pipeline.dlq)
    pipeline.dlq.plugin.create = () => ({
      async write(messages) {
        await new Promise(resolve => setTimeout(resolve, 5))
        d.journal.push(`dead ${messages.map(m => String(m.encode())).join(',')}`)
      },
    })
  const run = start(pipeline)
  const ended = run.run()
  ended.catch(() => {})
  return { d, log, run, ended }
}

const told = (d: Desk): unknown[] => d.rejections.map(r => [r.message.offset, r.step, r.error.message])

describe('a source that reports rejections to its senders', () => {
  test('is notified of rejected rows after the valid ones are written and before the commit; no dlq is needed', async () => {
    const { d, ended } = scenario()
    d.submit(1, -2, 3)
    await expect.poll(() => d.journal.length).toBe(3)
    expect(d.journal).toEqual(['write 1,3', 'refuse 1', 'commit 3'])
    expect(told(d)).toEqual([[1, 't0', '-2 is negative']])
    d.end()
    await ended
  })

  test('with a dlq, the rows are also in it before the sender is notified', async () => {
    const { d, ended } = scenario({ dlq: true })
    d.submit(1, -2, Buffer.from('{'), 4)
    d.end()
    await ended
    expect(d.journal).toEqual(['write 1,4', 'dead -2,{', 'refuse 2,1', 'commit 4'])
    expect(told(d)).toEqual([
      [2, 'in', expect.stringMatching(/malformed JSON/)],
      [1, 't0', '-2 is negative'],
    ])
  })

  test.each([false, true])('rows that the sink rejects are reported as well (dlq: %s)', async dlq => {
    const { d, ended } = scenario({ dlq, rejects: v => v > 100 })
    d.submit(1, 101, -1, 102, 2)
    d.end()
    await ended
    expect(d.journal).toEqual(['write 1,2', ...(dlq ? ['dead 101,-1,102'] : []), 'refuse 2,1,3', 'commit 5'])
    expect(told(d).slice(1)).toEqual([
      [1, 'out', 'not here'],
      [3, 'out', 'not here'],
    ])
  })

  test('a commit batch of only rejections is flushed at once', async () => {
    const { d, ended } = scenario()
    d.submit(-1)
    await expect.poll(() => d.journal).toEqual(['refuse 0', 'commit 1'])
    d.end()
    await ended
  })

  test('a transform that throws rejects only the row that it cannot process', async () => {
    const { d, ended } = scenario()
    d.submit(1, 666, 3, -4)
    d.end()
    await ended
    expect(d.journal).toEqual(['write 1,3', 'refuse 1,3', 'commit 4'])
    expect(told(d)[0]).toEqual([1, 't0', 'cannot take 666'])
  })

  test('a stateful transform that throws stops the pipeline, because its partial state change cannot be undone', async () => {
    const { d, ended } = scenario({
      transforms: [
        picky({
          stateful: true,
          create: (_c, ctx) => {
            ctx.state('s').set('k', 1)
            return {
              process: () => {
                throw new TypeError('broken')
              },
            }
          },
        }),
      ],
    })
    d.submit(1)
    await expect(ended).rejects.toThrow('broken')
    expect(d.journal).toEqual([])
  })

  test('several requests in one commit batch: each commit covers its own request, rejections come first', async () => {
    const { d, ended } = scenario()
    d.submit(0)
    await expect.poll(() => d.journal.length + d.rejections.length).toBeGreaterThanOrEqual(0)
    for (let i = 1; i <= 20; i++) d.submit(i, -i)
    d.end()
    await ended
    const seen = new Set<number>()
    let committed = 0
    for (const entry of d.journal) {
      const [what, list] = entry.split(' ')
      if (what === 'refuse') for (const offset of list.split(',')) seen.add(Number(offset))
      if (what !== 'commit') continue
      committed = Number(list)
      for (let offset = 2; offset < committed; offset += 2)
        expect(seen, `refusal of ${offset} before commit ${committed}`).toContain(offset)
    }
    expect(committed).toBe(41)
    expect(seen.size).toBe(20)
    // They were flushed together: far fewer commit batches than requests.
    expect(d.journal.filter(e => e.startsWith('commit')).length).toBeLessThan(15)
    expect(d.journal.filter(e => e.startsWith('write')).flatMap(e => e.slice(6).split(','))).toEqual(
      Array.from({ length: 21 }, (_, i) => String(i)),
    )
  })

  test('a sink outage delays the response and repeats no rejection', async () => {
    let failures = 3
    const { d, ended } = scenario({
      fault: () => {
        if (failures-- > 0) throw new ConnectionError('away')
      },
    })
    d.submit(1, -2)
    d.end()
    await ended
    expect(d.journal).toEqual(['write 1', 'refuse 1', 'commit 2'])
  })

  test('a permanent write failure: no rejection, no commit', async () => {
    const { d, ended } = scenario({
      fault: () => {
        throw new Error('disk on fire')
      },
    })
    d.submit(1, -2)
    await expect(ended).rejects.toThrow('disk on fire')
    expect(d.journal).toEqual([])
  })
})

test('a commitImmediately source does not wait for the commit interval, with or without output', async () => {
  const quiet = picky({ create: () => ({ process: () => {} }) })
  const { d, ended } = scenario({ transforms: [quiet] })
  d.submit(1, 2)
  await expect.poll(() => d.journal).toEqual(['commit 2'])
  d.end()
  await ended
})

test('a source that reports no rejections, without a dlq: the pipeline stops before the record', async () => {
  const { d, ended } = scenario({ d: desk({ reports: false }) })
  d.submit(1, -2)
  await expect(ended).rejects.toThrow(/The pipeline has no dlq for the record/)
  expect(d.journal.some(e => e.startsWith('commit'))).toBe(false)
})

test.each([false, true])('a rejection that can no longer be reported needs a dlq (there is one: %s)', async dlq => {
  const { d, ended } = scenario({ d: desk({ knows: offset => offset !== 1 }), dlq })
  d.submit(1, -2, -3)
  d.end()
  if (dlq) await ended
  else await expect(ended).rejects.toThrow(/step 't0' .* rejected desk offset 1: -2 is negative/)
  expect(d.journal.at(-1)).toBe(dlq ? 'commit 3' : 'refuse 1,2')
})

test('a dlq that is off with when_off: drop: records are counted and dropped', async () => {
  const { d, run, ended } = scenario({ d: desk({ reports: false }), over: { drops_dead: true }, rejects: v => v > 100 })
  d.submit(1, -2, 101, Buffer.from('{'))
  d.end()
  await ended
  expect(d.journal).toEqual(['write 1', 'commit 4'])
  const { meters } = run.built
  expect(['in', 't0', 'out'].map(name => meters.steps.find(m => m.step === name)!.dead)).toEqual([1, 1, 1])
})

test('when_off has an effect only while the dlq is off', async () => {
  const file = (dlq: string): string => `name: x\nsources: [{ memory: in }]\nsinks: [{ memory: out }]\ndlq: { ${dlq}, memory: dead }\n`
  const load = async (dlq: string): Promise<Pipeline> => (await loadText('x.yaml', file(dlq))).pipeline!
  expect(await load('enabled: false, when_off: drop')).toMatchObject({ drops_dead: true })
  expect(await load('enabled: false')).not.toHaveProperty('drops_dead')
  expect(await load('enabled: true, when_off: drop')).not.toHaveProperty('drops_dead')
})
