import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import type { Message } from '../../src/contract/plugin.ts'
import type { ValidateConfig } from '../../src/generated/config-types.ts'
import validate from '../../src/transforms/validate.ts'
import { messagesOf, runTransform, transformConformance } from '../conformance/transform.ts'

const trade = {
  type: 'object',
  required: ['symbol', 'price'],
  additionalProperties: false,
  properties: {
    symbol: { type: 'string', pattern: '^[A-Z]+$' },
    price: { type: 'number', exclusiveMinimum: 0, multipleOf: 0.01 },
    side: { enum: ['buy', 'sell'] },
    at: { type: 'string', format: 'date-time' },
    tags: { type: 'array', items: { type: 'string' } },
  },
}

const full = (config: Partial<ValidateConfig>): ValidateConfig => ({ formats: 'check', folder: '.', ...config })
const run = (config: Partial<ValidateConfig>, ...inputs: unknown[]) =>
  runTransform(validate, full(config), [messagesOf(inputs.map(value => ({ value })))])
async function failures(config: Partial<ValidateConfig>, ...inputs: unknown[]): Promise<string[]> {
  return (await run(config, ...inputs)).failures.map(f => f.error.message)
}

describe('records', () => {
  test('valid records pass with their bytes', async () => {
    const payload = '{ "symbol":"BTC", "price":0.07 }'
    const result = await runTransform(validate, full({ schema: trade }), [messagesOf([{ payload }])])
    expect(result.failures).toEqual([])
    expect(String(result.out[0].encode())).toBe(payload)
  })

  test('invalid records go to the port, with the errors in a one-line header like that of a dead letter', async () => {
    const wrong = { ['a\n  b']: 1, ['c'.repeat(3000)]: 1 }
    const { events, failures } = await run({ schema: trade, on_invalid: 'port' }, wrong)
    expect(failures).toEqual([])
    const [event] = events as { kind: string; port: string; message: Message }[]
    const [name, text] = event.message.headers!.at(-1)!
    expect([event.port, name, text!.length]).toEqual(['invalid', 'error_message', 2000])
    expect(text).toContain("the value must not have the field 'a b'; the value must not have the field 'ccc")
    expect(event.message.value).toEqual(wrong)
  })

  test('invalid records fail with all errors, each with its path', async () => {
    expect(
      await failures(
        { schema: trade },
        { symbol: 'btc', side: 'hold', at: 'yesterday', tags: ['a', 1], 'odd/one': 1 },
        { price: -1.001, symbol: 'A' },
        5,
      ),
    ).toEqual([
      "the value must have the field 'price'; the value must not have the field 'odd/one'; /symbol must match pattern \"^[A-Z]+$\"; " +
        '/side must be one of "buy", "sell"; /at must match format "date-time"; /tags/1 must be string',
      '/price must be > 0; /price must be multiple of 0.01',
      'the value must be object',
    ])
  })

  test('a thousand errors fit into a header', async () => {
    const [message] = await failures(
      { schema: { type: 'array', items: { type: 'string' } } },
      Array.from({ length: 1000 }, () => 1),
    )
    expect(message).toMatch(/^\/0 must be string; \/1 must .*; and 980 more$/)
  })

  test('inherited properties are not fields', async () => {
    const schema = { type: 'object', required: ['toString'], properties: { constructor: { type: 'string' } } }
    expect(await failures({ schema }, {})).toEqual(["the value must have the field 'toString'"])
    expect((await run({ schema }, { toString: 1, constructor: 'F' })).failures).toEqual([])
    // A value of a plugin: a getter of its class is not a field of the JSON that is written.
    class Tick {
      own = 1
      get price(): number {
        return 1
      }
    }
    expect(await failures({ schema: { type: 'object', required: ['own', 'price'] } }, new Tick())).toEqual([
      "the value must have the field 'price'",
    ])
  })

  test('a hostile string cannot stall a pattern', async () => {
    // Backtracking would not end.
    expect(await failures({ schema: { type: 'string', pattern: '^(a+)+$' } }, `${'a'.repeat(5000)}!`)).toHaveLength(1)
  })

  test('each pattern of a schema is compiled separately', async () => {
    const schema = {
      properties: { date: { type: 'string', pattern: '^\\d{4}-\\d{2}$' }, amount: { type: 'string', pattern: '^\\d+[.]\\d+$' } },
    }
    expect((await run({ schema }, { date: '2026-01', amount: '1.10' })).failures).toEqual([])
    expect(await failures({ schema }, { date: '1.10', amount: '2026-01' })).toHaveLength(1)
  })

  test('drafts', async () => {
    const schema = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'array',
      prefixItems: [{ type: 'string' }],
      $defs: {},
      items: false,
    }
    expect(await failures({ schema }, ['a'], [1], ['a', 1])).toEqual(['/0 must be string', 'the value must have at most 1 item'])
  })

  test('the schema is compiled once for all lanes', () => {
    let looks = 0
    const schema = {
      ...trade,
      get properties() {
        looks++
        return trade.properties
      },
    }
    const config = full({ schema })
    validate.create(config, {} as any)
    const once = looks
    expect(once).toBeGreaterThan(0)
    for (let i = 0; i < 10; i++) validate.create(config, {} as any)
    expect(looks).toBe(once)
  })
})

test('type does not hide the other keywords', async () => {
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    additionalProperties: true,
    properties: {
      a: { type: 'string', enum: ['x'] },
      b: { type: 'integer', minimum: 2, not: { const: 3 } },
      c: { $ref: '#/properties/b', type: 'integer' },
      d: { type: 'array', items: { type: 'boolean' } },
      e: { type: ['string', 'null'], minLength: 2 },
    },
  }
  expect(await failures({ schema }, { a: 'y', b: 3, c: 1, d: [1], e: 'z' })).toEqual([
    '/a must be one of "x"; /b must not match the schema in not; /c must be >= 2; /d/0 must be boolean; /e must have at least 2 characters',
  ])
  expect((await run({ schema }, { a: 'x', b: 2, c: 4, d: [true], e: null, f: 1 })).failures).toEqual([])
})

describe('check', () => {
  const dir = mkdtempSync(join(tmpdir(), 'validate-'))
  const file = (text: string, name = `${Math.random()}.json`): string => {
    const path = join(dir, name)
    writeFileSync(path, text)
    return path
  }
  afterAll(async () => (await import('node:fs')).rmSync(dir, { recursive: true }))
  const check = (c: Partial<ValidateConfig>) =>
    validate.validateConfig!(full(c)).map(({ path, message, suggestion, source }) => {
      const place = source ? `${basename(source.file)}:${source.line}:${source.column}` : path.join('/')
      return `${place}: ${message}${suggestion ? ` => ${suggestion}` : ''}`
    })

  test.each<[string, Partial<ValidateConfig>, string[]]>([
    ['nothing', {}, [': needs a schema or a schema_file']],
    ['both', { schema: {}, schema_file: 'x' }, ['schema_file: write schema or schema_file, not both']],
    ['good', { schema: trade }, []],
    [
      'a wrong type',
      { schema: { properties: { price: { type: 'numbr' } } } },
      [
        'schema/properties/price/type: not a JSON Schema: must be one of "array", "boolean", "integer", "null", "number", "object", "string"',
      ],
    ],
    [
      'a misspelled keyword',
      { schema: { properties: { a: { requried: ['x'] } } } },
      ['schema/properties/a/requried: unknown keyword requried => required'],
    ],
    [
      'an unknown format',
      { schema: { items: [{ format: 'dat' }] } },
      ['schema/items/0/format: unknown format dat; write a pattern instead, or `formats: ignore` in this step to ignore formats => date'],
    ],
    [
      'a reference without a target',
      { schema: { properties: { a: { $ref: '#/definitions/b' } } } },
      ['schema/properties/a/$ref: #/definitions/b does not resolve'],
    ],
    [
      'a reference to the network',
      { schema: { $ref: 'https://example.com/a.json' } },
      [
        'schema/$ref: https://example.com/a.json is not fetched from the network; save the schema beside the pipeline and add `references: { "https://example.com/a.json": ./a.json }` to this step',
      ],
    ],
    ['an invalid pattern', { schema: { pattern: '(' } }, ['schema/pattern: not a regular expression: a ( is not closed: (']],
    ['no file', { schema_file: '/nowhere/x.json' }, ['schema_file: /nowhere/x.json does not exist']],
  ])('%s', (_, config, expected) => {
    expect(check(config)).toEqual(expected)
  })

  test('files', async () => {
    const good = file(JSON.stringify(trade))
    expect(check({ schema_file: good })).toEqual([])
    expect((await run({ schema_file: good }, { symbol: 'A', price: 1 })).out).toHaveLength(1)
    expect(check({ schema_file: file('{', 'cut.json') })).toEqual([
      'cut.json:1:2: not JSON: expected a key in double quotes, but the text ends here',
    ])
    expect(check({ schema_file: file('\ufeff{\n "a": x}', 'x.json') })).toEqual(['x.json:2:7: not JSON: expected a value'])
    expect(check({ schema_file: file(' ', 'empty.json') })).toEqual(['empty.json:1:1: not JSON: it is empty'])
    expect(check({ schema_file: file('[]') })[0]).toMatch(/is not a JSON Schema, which is an object$/)
    expect(check({ schema_file: file('{"properties": {\n  "a": {"requird": []}}}', 'a.json') })).toEqual([
      'a.json:2:9: unknown keyword requird => required',
    ])
    // In a file that another one refers to, and at a value.
    file('{"items": {"type": "numbr"}}', 'part.json')
    for (const schema of [{ schema_file: file('{"$ref": "part.json"}', 'whole.json') }, { schema: { $ref: 'part.json' }, folder: dir }])
      expect(check(schema)[0]).toMatch(/^part\.json:1:20: not a JSON Schema: must be one of/)
    expect(check({ schema_file: file('{"$ref":\n"nowhere.json"}', 'whole2.json') })[0]).toMatch(
      /^whole2\.json:2:1: nowhere\.json: .* does not exist$/,
    )
  })
})

transformConformance(
  'validate',
  validate,
  full({ schema: trade }),
  fc.array(
    fc.record({ value: fc.oneof(fc.record({ symbol: fc.constantFrom('A', 'b'), price: fc.oneof(fc.integer(), fc.string()) }), fc.json()) }),
    { maxLength: 20 },
  ),
)
