/** The decoder that keeps offsets agrees with the YAML library on every style, and points at the right character. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Document, Scalar } from 'yaml'
import { resolveScalar } from '../../src/config/env.ts'
import { parseText } from '../../src/config/parse.ts'
import { Problems } from '../../src/config/problems.ts'
import { scalarOffsets, spanInScalar } from '../../src/config/scalar.ts'
import { find, type ScalarNode, SourceText } from '../../src/config/tree.ts'

const TYPES = [Scalar.PLAIN, Scalar.QUOTE_SINGLE, Scalar.QUOTE_DOUBLE, Scalar.BLOCK_LITERAL, Scalar.BLOCK_FOLDED] as const

function scalarOf(text: string): ScalarNode | undefined {
  const root = parseText(new SourceText('x.yaml', text), new Problems())
  return root && (find(root, ['list', 0, 'key']).node as ScalarNode)
}

const piece = fc.oneof(
  fc.constantFrom(' ', '  ', '\n', '\n\n', '\t', '"', "'", '\\', ': ', ' #', 'é', '😀', '\u2028', '\x07', '- ', '${V}', '$'),
  fc.string({ maxLength: 8, unit: 'grapheme-ascii' }),
  fc.constantFrom('price', ' > ', '1.0', ' && ', 'a == b'),
)

test('every scalar style, any text', () => {
  let mapped = 0
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 20 }).map(p => p.join('')),
      fc.constantFrom(...TYPES),
      fc.constantFrom('\n', '\r\n'),
      fc.integer({ min: 20, max: 60 }),
      (value, type, eol, lineWidth) => {
        const scalar = new Scalar(value)
        scalar.type = type
        const doc = new Document({ list: [{ key: scalar, after: 1 }] })
        const text = doc.toString({ lineWidth }).replaceAll('\n', eol)
        const node = scalarOf(text)
        // A block of nothing but blanks has no character to point at.
        fc.pre(node?.value === value && value.trim() !== '')
        const offsets = scalarOffsets(node!)
        expect(offsets, JSON.stringify(text)).toBeDefined()
        expect(offsets).toHaveLength(value.length + 1)
        mapped++
        for (let i = 0; i < value.length; i++) {
          const written = text[offsets![i]]
          // The position of an escape is its backslash or first quote, that of a folded line break the break.
          if (written !== value[i] && !['\\', "'", '\n', '\r'].includes(written)) expect.fail(JSON.stringify([text, value, i]))
          if (i > 0 && offsets![i] < offsets![i - 1]) expect.fail(`offsets go back at ${i}: ${JSON.stringify([text, value])}`)
        }
      },
    ),
    { numRuns: 4000 },
  )
  expect(mapped).toBeGreaterThan(2000)
})

const spanned = (yaml: string, word: string, env: Record<string, string> = {}): string => {
  const node = resolveScalar(scalarOf(yaml)!, [], env, '.', undefined)
  const start = String(node.value).indexOf(word)
  const span = spanInScalar(node, start, start + word.length)!
  return yaml.slice(span.start, span.end)
}

test.each([
  ['plain', 'list:\n  - key: price > wrong + 1\n'],
  ['plain on several lines', 'list:\n  - key: price\n      > wrong\n      + 1\n'],
  ['single quotes', "list:\n  - key: 'it''s wrong'\n"],
  ['double quotes', 'list:\n  - key: "a \\"b\\" \\u00e9\\x41 wrong"\n'],
  ['double quotes on several lines', 'list:\n  - key: "a \\\n      b wrong"\n'],
  ['literal', 'list:\n  - key: |\n      a\n        b wrong\n'],
  ['literal with an indentation indicator', 'list:\n  - key: |2-\n        a\n      b wrong\n'],
  ['folded, kept', 'list:\n  - key: >+\n      a\n\n      b\n      wrong\n\n\n'],
  ['Windows line ends', 'list:\r\n  - key: |\r\n      a\r\n      wrong\r\n'],
])('the word is located: %s', (_, yaml) => {
  expect(spanned(yaml, 'wrong')).toBe('wrong')
})

test('a value of a variable is located at its reference', () => {
  const yaml = 'list:\n  - key: "a ${VAR} + wrong $${x} ${W:-late}"\n'
  const env = { VAR: 'inside\nit' }
  expect(spanned(yaml, 'wrong', env)).toBe('wrong')
  expect(spanned(yaml, 'side', env)).toBe('${VAR}')
  expect(spanned(yaml, '${x', env)).toBe('$${x')
  expect(spanned(yaml, 'late', env)).toBe('${W:-late}')
})
