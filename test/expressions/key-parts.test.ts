import { describe, expect, it } from 'vitest'
import { NAMESPACES } from '../../src/expressions/functions.ts'
import { check } from '../../src/expressions/index.ts'
import { keyParts } from '../../src/expressions/key-parts.ts'
import { isPlainPath } from '../../src/expressions/plain-path.ts'

const origin = (path: string): readonly string[] => [path]

describe('keyParts', () => {
  it('accepts the same plain paths as the language', () => {
    const reserved =
      'as break const else false for function if import in let loop namespace null package return true var void while type int map'
    const names = [
      ...reserved.split(' '),
      ...NAMESPACES,
      'value',
      'meta',
      'symbol',
      '_id',
      'Order',
      'toString',
      'constructor',
      'size',
      'has',
    ]
    for (const name of names)
      for (const text of [name, `${name}.id`, `order.${name}`])
        if (isPlainPath(text)) {
          expect([text, keyParts(text, origin)]).toEqual([text, [text]])
          expect(check(text)).toEqual({ type: 'dyn' })
        }
    expect(names.filter(isPlainPath)).toEqual(['symbol', 'Order', 'toString', 'constructor', 'size', 'has'])
    expect([...NAMESPACES].filter(isPlainPath)).toEqual([])
  })

  it('distinguishes parts of lists, strings and maps', () => {
    expect(keyParts('[user.id, symbol]', origin)).toEqual(['symbol', 'user.id'])
    expect(keyParts('symbol + "/" + side', origin)).toEqual(['side', 'symbol'])
    expect(keyParts('1 + 1', origin)).toEqual([])
    expect(keyParts('size(symbol)', origin)).toHaveLength(1)
    expect(keyParts('symbol +', origin)).toBeUndefined()
  })
})
