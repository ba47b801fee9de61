import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { substitute } from '../../src/config/env.ts'
import { FORMATS } from '../../src/config/formats.ts'
import { distance, suggest } from '../../src/kit/text/suggest.ts'
import { durationLimit, guessDuration, guessSize, parseDuration, parseSize, sizeLimit } from '../../src/kit/text/units.ts'

describe('units', () => {
  test.each([
    ['0s', 0],
    ['1ms', 1],
    ['500ms', 500],
    ['1s', 1000],
    ['1.5s', 1500],
    ['1.1s', 1100],
    ['0.1s', 100],
    ['1m', 60_000],
    ['1h30m', 5_400_000],
    ['7d', 604_800_000],
    ['1d2h3m4s5ms', 93_784_005],
  ])('%s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })
  test.each(['', '1', 's', '1 s', '-1s', '1S', '1us', '0.5ms', '1e3s', '1s ', '1,5s', '٣s', '99999999999999d', '1s1'])(
    'no duration: %s',
    text => {
      expect(parseDuration(text)).toBeUndefined()
    },
  )
  test.each([
    ['0B', 0],
    ['512B', 512],
    ['1KB', 1000],
    ['1KiB', 1024],
    ['1.5MiB', 1_572_864],
    ['2GB', 2e9],
    ['1TiB', 2 ** 40],
  ])('%s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })
  test.each(['', '1', 'KB', '1 KB', '-1B', '0.5B', '1kb', '1XB', '1toString', '9999999TiB'])('an invalid size: %s', text => {
    expect(parseSize(text)).toBeUndefined()
  })
  test('impossible durations and sizes are errors', () => {
    expect(['100000d', '1000000h1m', '0.5ms', '1.0001s', '1m', 'x'].map(durationLimit)).toEqual([
      'at most 36525d, which is 100 years',
      'at most 36525d, which is 100 years',
      'a whole number of milliseconds',
      'a whole number of milliseconds',
      undefined,
      undefined,
    ])
    expect(['0.5B', '9999999TiB', '8191TiB', '1XB'].map(sizeLimit)).toEqual([
      'a whole number of bytes',
      'at most 8191TiB',
      undefined,
      undefined,
    ])
  })
  test('suggested units are valid', () => {
    expect(['5 seconds', '5S', 5, '5 min', '2hrs', '100 millis', '30ss', '1.5 Hours'].map(guessDuration)).toEqual([
      '5s',
      '5s',
      '5s',
      '5m',
      '2h',
      '100ms',
      '30s',
      '1.5h',
    ])
    expect(['5k', '5mb', 10, '5 MIB', '7 bytes'].map(guessSize)).toEqual(['5KiB', '5MB', '10B', '5MiB', '7B'])
    fc.assert(
      fc.property(fc.oneof(fc.string({ maxLength: 8 }), fc.integer()), text => {
        const duration = guessDuration(text)
        const size = guessSize(text)
        expect(duration === undefined || parseDuration(duration) !== undefined).toBe(true)
        expect(size === undefined || parseSize(size) !== undefined).toBe(true)
      }),
    )
  })
})

describe('suggestions', () => {
  test.each([
    ['ab', 'ba', 1],
    ['abc', 'abc', 0],
    ['abc', 'acbd', 2],
    ['', 'abc', 3],
    ['kitten', 'sitting', 3],
  ])('distance %s %s', (a, b, d) => {
    expect(distance(a, b)).toBe(d)
    expect(distance(b, a)).toBe(d)
  })
  test('the suggestion is the nearest name, or none', () => {
    expect(suggest('topc', ['topics', 'topic'])).toBe('topic')
    expect(suggest('allowedLateness', ['allowed_lateness'])).toBe('allowed_lateness')
    expect(suggest('lateness', ['allowed_lateness'])).toBe('allowed_lateness')
    expect(suggest('xyz', ['topic'])).toBeUndefined()
    expect(suggest('a', ['b'])).toBeUndefined()
  })
})

describe('references', () => {
  const run = (text: string, env: Record<string, string> = {}): string | undefined => substitute(text, env, '.')?.text
  test('references are replaced by their values', () => {
    expect(run('a')).toBeUndefined()
    expect(run('a${X}b', { X: '1' })).toBe('a1b')
    expect(run('${X:-d}')).toBe('d')
    expect(run('${X:-d}', { X: '' })).toBe('d')
    expect(run('${X}', { X: '' })).toBe('')
    expect(run('${X:-}')).toBe('')
    expect(run('$${X} ${X}', { X: '1' })).toBe('${X} 1')
    expect(run('${X}', { X: '${Y}' })).toBe('${Y}')
    expect(run('${X:-http://a:1/b?c=d}')).toBe('http://a:1/b?c=d')
  })
  test('a value is never expanded again, and parts are concatenated', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', '$', '{', '}', '${A}', '${B:-x}', '$${', ':-', '${file:nope}')),
        fc.string(),
        (parts, value) => {
          const template = parts.join('')
          const result = substitute(template, { A: value }, '/nowhere')
          if (!result) return
          const { pieces } = result.substitution
          let at = 0
          let start = 0
          for (const p of pieces) {
            expect([p.at, p.start]).toEqual([at, start])
            at = p.to
            start = p.end
          }
          expect([at, start]).toEqual([result.text.length, template.length])
        },
      ),
    )
  })
})

test('formats', () => {
  const ok: Record<string, string[]> = {
    topic: ['a', 'A.b_c-1'],
    identifier: ['a', 'public.t1', '_x$'],
    field: ['a', 'a.b', '24h', '@type', 'é'],
    timestamp: ['2026-01-31T12:00:00Z', '2026-01-31', '1767225600000', '2026-01-31T12:00:00.123+02:00'],
  }
  const bad: Record<string, string[]> = {
    topic: ['', '.', '..', 'a b', 'a/b', 'x'.repeat(250)],
    identifier: ['', '1a', 'a-b', 'a.b.c', 'x'.repeat(64)],
    field: ['', 'a..b', '.a', 'a.', 'a b', 'a[0]', '__proto__', 'a.constructor'],
    timestamp: ['', 'now', '2026-13-01', '2026-02-31', 'day 1', '2026-01-31T12:00:00', '12:00'],
  }
  for (const [name, texts] of Object.entries(ok)) for (const t of texts) expect(FORMATS[name].validate(t), `${name} ${t}`).toBe(true)
  for (const [name, texts] of Object.entries(bad)) for (const t of texts) expect(FORMATS[name].validate(t), `${name} ${t}`).toBe(false)
})
