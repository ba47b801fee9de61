import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Glob } from '../../../../src/connectors/redis/glob.ts'
import { checkKeyRule, keyRule } from '../../../../src/connectors/redis/pubsub/channel-key.ts'

describe('key_from_channel: a regular expression gives the key', () => {
  test.each([
    ['^ticks\\.([^.]+)', 'ticks.BTC-USD.1', 'BTC-USD'],
    ['(?<symbol>[A-Z]+)$', 'ticks.BTC', 'BTC'],
    ['^(a)?b', 'b', null],
    ['^ticks\\.(.+)$', 'news', null],
    [String.raw`^ticks\:(\w+)`, 'ticks:X', 'X'],
  ])('%s of %s', (rule, channel, key) => {
    expect(checkKeyRule(rule)).toBeUndefined()
    expect(keyRule(rule)(channel, '*')).toBe(key)
  })

  test.each(['^(?=a)(.*)$', String.raw`(a)\1`, '(a){2000}'])('%s is rejected with a fix', rule => {
    expect(checkKeyRule(rule)).toMatch(/`rekey` transform/)
  })

  // Backtracking takes some 2^50000 steps here; the test would not end.
  test('patterns run in linear time on any channel', () => {
    expect(keyRule('^((a+)+)$')(`${'a'.repeat(50_000)}!`, '*')).toBeNull()
  })
})

describe('glob', () => {
  test.each([
    ['ticks.*', 'ticks.', true],
    ['ticks.*', 'ticks', false],
    ['*', '', true],
    ['a*b*c', 'a1b2b3c', true],
    ['a*b*c', 'a1b2b3', false],
    ['h?llo', 'hello', true],
    ['h?llo', 'hllo', false],
    ['h[ae]llo', 'hallo', true],
    ['h[^e]llo', 'hello', false],
    ['h[a-c]llo', 'hbllo', true],
    ['h[c-a]llo', 'hbllo', true],
    [String.raw`a\*b`, 'a*b', true],
    [String.raw`a\*b`, 'axb', false],
    ['[', '[', true],
    ['a\n*', 'a\n\n', true],
  ])('%j and %j: %s', (pattern, text, matches) => {
    expect(new Glob(pattern).test(text)).toBe(matches)
  })

  test('matches the same channels as a regular expression', () => {
    const some = (max: number, ...of: string[]) => fc.array(fc.constantFrom(...of), { maxLength: max }).map(list => list.join(''))
    fc.assert(
      fc.property(some(8, 'a', 'b', '*', '?', '[ab]', '[^a]'), some(10, 'a', 'b', 'c'), (pattern, text) => {
        const same = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('?', '.')}$`, 's')
        expect(new Glob(pattern).test(text)).toBe(same.test(text))
      }),
      { numRuns: 2000 },
    )
  })

  test('runs in linear time on any channel', () => {
    expect(new Glob('*a'.repeat(30) + '*b').test('a'.repeat(10_000))).toBe(false)
  })
})
