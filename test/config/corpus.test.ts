/**
 * The guarantee of `validate`: `run` rejects a valid file only for reasons outside the file. Every pipeline of the project,
 * and two files with every plugin in them, broken in one place at a time: each error is reported once, exactly where it was
 * made, and valid files can be built.
 */
import { globSync } from 'node:fs'
import { beforeAll, describe, expect, test } from 'vitest'
import type { CheckpointStore, LaneInfo, Logger } from '../../src/contract/plugin.ts'
import { build } from '../../src/runtime/build.ts'
import { VirtualClock } from '../../src/kit/clock.ts'
import { loadPipeline, loadText } from '../../src/config/load.ts'
import type { Pipeline, Problem } from '../../src/config/model.ts'
import { LaneState } from '../../src/runtime/state.ts'
import { type Mutation, mutationsOf } from './mutations.ts'

const files = [...globSync('pipelines/*.yaml'), ...globSync('test/config/corpus/*.yaml')].filter(f => !f.includes('.test.')).sort()

interface Outcome {
  readonly mutation: Mutation
  readonly problems: readonly Problem[]
  readonly pipeline?: Pipeline
}

const outcomes: Outcome[] = []

beforeAll(async () => {
  for (const file of files) {
    for (const mutation of some(await mutationsOf(file), file))
      outcomes.push({ mutation, ...(await loadText(file, mutation.text, { env: {} })) })
  }
}, 900_000)

/** Of the pipelines a part, spread over each file; CORPUS_ALL=1 takes all 20,000. */
function some(mutations: readonly Mutation[], file: string): readonly Mutation[] {
  const step = process.env.CORPUS_ALL || file.startsWith('test/') ? 1 : Math.ceil(mutations.length / 90)
  return mutations.filter((_, i) => i % step === 0)
}

const log: Logger = { debug() {}, info() {}, warn() {}, error() {} }

/** As `run` does before it opens anything, and a lane of every source on top. */
function mustBuild(pipeline: Pipeline): void {
  const built = build(pipeline, { clock: new VirtualClock(0), log, localCheckpoints: () => ({}) as CheckpointStore })
  for (const { step } of built.sources) {
    const lane: LaneInfo = { id: `${step.name}/0`, source: step.name }
    built.stages(lane, new LaneState())
  }
}

const name = (m: Mutation): string => `${m.file}: ${m.title} at ${m.place}`

describe('unmodified files', () => {
  test.each(files)('%s', async file => {
    const { pipeline, problems } = await loadPipeline(file, { env: {} })
    // Warnings, such as a key on several lanes, do not count.
    expect(problems.filter(p => p.severity === 'error')).toEqual([])
    mustBuild(pipeline!)
  })
})

test('the number of cases is sufficient', () => {
  const broken = outcomes.filter(o => o.mutation.place)
  expect(broken.length).toBeGreaterThan(3000)
  expect(broken.filter(o => o.mutation.file.startsWith('pipelines/')).length).toBeGreaterThan(300)
})

test('every error is reported once, at its position', () => {
  const wrong = outcomes
    .filter(o => o.mutation.place && !isFound(o))
    .map(o => [name(o.mutation), o.problems.map(p => `${p.line}:${p.column} ${p.code} ${p.message}`)])
  expect(wrong).toEqual([])
})

test('a valid file can be built', () => {
  const passed = outcomes.filter(o => o.pipeline)
  expect(passed.length).toBeGreaterThan(300)
  const failed = passed.flatMap(({ mutation, pipeline }) => {
    try {
      mustBuild(pipeline!)
      return []
    } catch (error) {
      return [`${name(mutation)}: ${(error as Error).stack}`]
    }
  })
  expect(failed).toEqual([])
})

test('at least 95 of 100 typos get the right suggestion', () => {
  const typos = outcomes.filter(o => o.mutation.suggestion)
  const missed = typos.filter(o => o.problems[0]?.suggestion !== o.mutation.suggestion)
  expect(typos.length).toBeGreaterThan(800)
  expect(missed.length / typos.length, missed.map(o => name(o.mutation)).join('\n')).toBeLessThan(0.05)
})

test('every problem has a message', () => {
  for (const { problems } of outcomes) {
    for (const p of problems) {
      expect(p.message.length).toBeGreaterThan(5)
      expect(p.message).not.toMatch(/undefined|\[object|NaN/)
      expect(p.code).toMatch(/^CONFIG_/)
    }
  }
})

/**
 * Once, at its place, and nothing else. Of the flows, which are files for people, a few mutations are not such a mistake, or cause several errors.
 */
function isFound({ problems, mutation }: Outcome): boolean {
  const { file, text, title } = mutation
  if (problems.length === 1 && isAt(problems[0], mutation)) return true
  if (!file.startsWith('pipelines/')) return false
  // In a disabled step, variables may be missing.
  if (/variable|reference/.test(title) && /enabled: .*false/.test(text)) return problems.length === 0
  // A tab before a comment is valid; an unclosed bracket ends at the comment after it.
  if (title === 'tab') return problems.length === 0
  if (title.startsWith('without }')) return problems.length === 1
  // The item of a list that lacks a key, instead of the list.
  if (title.startsWith('without ')) return problems.length === 1 && String(problems[0].line) === mutation.place!.split(':')[0]
  // Parts that reference each other: without the plugin's file its step is unknown, and a page may reference a step without a name.
  return /plugins:|endpoints:|pluxins/.test(text) && problems.some(p => isAt(p, mutation))
}

function isAt(p: Problem, m: Mutation): boolean {
  const [line, column] = m.place!.split(':').map(Number)
  if (m.until === undefined) return p.line === line && p.column === column
  const [endLine, endColumn] = m.until.split(':').map(Number)
  const afterStart = p.line > line || (p.line === line && p.column >= column)
  return afterStart && (p.line < endLine || (p.line === endLine && p.column <= endColumn))
}
