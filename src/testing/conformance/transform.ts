/** Requirement for all transforms: output and state do not depend on batch boundaries and crashes. */
import assert from 'node:assert/strict'
import type { TransformPlugin } from '../../contract/plugin.ts'
import { type Input, messagesOf, runTransform, seenByPlace, stateOf } from './run-transform.ts'
import { type ConformanceTest, conformanceTest } from './suite.ts'

/** The part of a fast-check arbitrary that the suite uses. */
export interface ArbitraryLike<T> {
  generate(random: any, bias: number | undefined): { readonly value: T }
}

/** A number from 0 to below 1; the same sequence in every run of the suite. */
export type Random = () => number

export interface TransformCase<C> {
  readonly plugin: TransformPlugin<C>
  /** As passed to the plugin: with defaults, durations in ms. */
  readonly config: C
  /**
   * Inputs: one list, a function that generates a list from random numbers, or a fast-check arbitrary, which finds the smallest
   * failing input (`npm install --save-dev fast-check`).
   */
  readonly inputs: readonly Input[] | ((random: Random) => readonly Input[]) | ArbitraryLike<Input[]>
  /** Number of combinations of input, batches and crashes. Default: 100. */
  readonly runs?: number
  /** At the end, call `onIdle` with this many ms of silence. */
  readonly idle?: number
  /** At the end, call `onEnd`; `true`: without a time limit. Default: true. */
  readonly end?: boolean | number
}

/**
 * The tests that every transform must pass.
 *
 * @example
 * import { test } from 'vitest' // or node:test
 * import { transformConformance } from 'pipeline-runner/testing'
 *
 * const inputs = (random) => Array.from({ length: 50 }, () => ({ value: { price: Math.floor(random() * 10) } }))
 * for (const { name, run } of transformConformance({ plugin, config: { percent: 10 }, inputs })) test(name, run)
 */
export function transformConformance<C>(one: TransformCase<C>): ConformanceTest[] {
  const { plugin, config, idle, end = true } = one
  const ending = { idle, end }
  const same = async (all: readonly Input[], at: readonly number[], crashes: readonly number[]): Promise<void> => {
    const whole = await runTransform(plugin, config, [messagesOf(all)], ending)
    const batches = split(messagesOf(all), at)
    const restartAt = crashes.map(c => Math.floor(c * (batches.length + 1)))
    const parts = await runTransform(plugin, config, batches, { ...ending, restartAt })
    assert.deepEqual(seenByPlace(parts), seenByPlace(whole))
    assert.deepEqual(stateOf(parts), stateOf(whole))
  }
  return [
    conformanceTest('any split of the input into batches gives identical output and state', () =>
      always(one, 0, (all, at) => same(all, at, [])),
    ),
    conformanceTest('a crash and a restore from the state at any cut gives identical output and state', () => always(one, 5, same)),
  ]
}

type Property = (all: readonly Input[], cuts: readonly number[], crashes: readonly number[]) => Promise<void>

async function always({ inputs, runs = 100 }: TransformCase<any>, crashes: number, property: Property): Promise<void> {
  if (isArbitrary(inputs)) {
    const fc = await import('fast-check').catch(() => {
      throw new Error('inputs is a fast-check arbitrary, and fast-check is not installed: npm install --save-dev fast-check')
    })
    // Not fc.double: it draws bit patterns evenly, so nearly all numbers, and so all cuts, would be close to 0.
    const fraction = fc.nat(999).map(n => n / 1000)
    const restarts = fc.array(fraction, { minLength: Math.min(1, crashes), maxLength: crashes })
    const all = inputs as unknown as ReturnType<typeof fc.array<Input>>
    return fc.assert(fc.asyncProperty(all, fc.array(fraction, { maxLength: 12 }), restarts, property), { numRuns: runs })
  }
  for (let run = 1; run <= runs; run++) {
    const random = randomOf(run)
    const some = (n: number): number[] => Array.from({ length: n }, random)
    const list = typeof inputs === 'function' ? inputs(random) : inputs
    const cuts = some(Math.floor(random() * 13))
    const restarts = crashes === 0 ? [] : some(1 + Math.floor(random() * crashes))
    try {
      await property(list, cuts, restarts)
    } catch (error) {
      const shown = JSON.stringify(list)
      const input = shown.length > 2000 ? `${shown.slice(0, 2000)}…` : shown
      throw new Error(`run ${run} of ${runs}, input ${input}, cut at ${cuts.join(', ')}:\n${(error as Error).message}`, { cause: error })
    }
  }
}

const isArbitrary = (inputs: TransformCase<any>['inputs']): inputs is ArbitraryLike<Input[]> =>
  typeof (inputs as Partial<ArbitraryLike<Input[]>>).generate === 'function'

/** mulberry32: a small, reproducible generator. */
function randomOf(seed: number): Random {
  let a = Math.imul(seed, 0x9e3779b1)
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Splits a list at fractions of its length; batches may be empty, as in a real run. */
export function split<T>(all: readonly T[], at: readonly number[]): T[][] {
  const edges = [0, ...at.map(x => Math.floor(x * all.length)).toSorted((a, b) => a - b), all.length]
  return edges.slice(1).map((end, i) => all.slice(edges[i], end))
}
