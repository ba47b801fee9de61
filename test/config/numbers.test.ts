import { expect, test } from 'vitest'
import { ExactNumber } from '../../src/contract/plugin.ts'
import { loadInput, type PipelineInput } from '../../src/config/load.ts'
import { describe } from '../../src/explain/describe.ts'
import { toText } from '../../src/explain/text.ts'
import { messagesOf, runTransform } from '../conformance/transform.ts'

const file = (limit: string): string => `name: n
sources: [{ stdin: {} }]
transforms: [{ reconcile: { left: a, right: b, key: id, tolerance: ${limit} } }]
sinks: [{ stdout: {} }]
`
const schema = (value: string): string => `name: n
sources: [{ stdin: {} }]
transforms: [{ validate: { schema: { properties: { id: { enum: [${value}] } } } } }]
sinks: [{ stdout: {} }]
`
const problemsOf = async (input: PipelineInput, set: string[] = []): Promise<string[]> =>
  (await loadInput(input, { set })).problems.map(p => `${p.line}:${p.column} ${p.message}`)

const NOT_HELD = ['9007199254740993', '-9007199254740993', '12345678901234567.89', '123456789012345678901234567890', '1e-400', '1e400']
const HELD = ['9007199254740992', '1.10', '0.1', '-0', '1e3', '123456789012345680000', '5e-324', '0x10', '.5']

test.each([...NOT_HELD, '0x20000000000001'])('a number beyond double precision is an error, never another number: %s', async value => {
  expect(await problemsOf(file(value))).toContainEqual(expect.stringMatching(/^3:68 .*: write a number of at most 15 digits$/))
  const frame = `${file('1')}retry: { breaker_failures: ${value} }\n`
  expect(await problemsOf(frame)).toContainEqual(expect.stringMatching(/^5:28 .*: write a number of at most 15 digits$/))
})

test.each(HELD)('an exact number is valid: %s', async value => {
  expect((await problemsOf(file(value))).filter(p => p.includes('would be read'))).toEqual([])
})

test('the fix follows the schema of the key, not its name', async () => {
  expect(await problemsOf(file('1').replace('stdout: {}', 'memory: { channel: 9007199254740993 }'))).toContainEqual(
    expect.stringMatching(/write it as text, in quotes/),
  )
  // A key named schema that is not a schema.
  expect(await problemsOf(file('1').replace('stdout: {}', 'stdout: { schema: 9007199254740993 }'))).toContainEqual(
    expect.stringMatching(/write it as text, in quotes/),
  )
})

async function passing(input: PipelineInput, set: string[] = []): Promise<(...texts: string[]) => Promise<string[]>> {
  const { pipeline, problems } = await loadInput(input, { set })
  expect(problems).toEqual([])
  const step = pipeline!.transforms[0]
  return async (...texts) => {
    const records = messagesOf(texts.map(text => ({ value: { id: new ExactNumber(text) } })))
    return (await runTransform(step.plugin, step.config, [records])).out.map(m => String((m.value as { id: unknown }).id))
  }
}

test.each(NOT_HELD)('in an inline schema a number keeps its digits: %s', async value => {
  const next = value.replace(/\d(?=$|e)/, d => String((Number(d) + 1) % 10))
  const pass = await passing(schema(value))
  expect(await pass(value, next)).toEqual([value])
  const given = await passing(schema('1'), [`transforms[0].validate.schema.properties.id.enum[0]=${value}`])
  expect(await given(value, next)).toEqual([value])
  const object = { name: 'n', sources: [{ stdin: {} }], sinks: [{ stdout: {} }] }
  const coded = await passing({
    ...object,
    transforms: [{ validate: { schema: { properties: { id: { const: new ExactNumber(value) } } } } }],
  })
  expect(await coded(value, next)).toEqual([value])
})

test('schemas that differ in such a digit are different pipelines, and explain prints the digits', async () => {
  const [a, b] = await Promise.all(['9007199254740993', '9007199254740992'].map(v => loadInput(schema(v))))
  expect(a.pipeline!.hash).not.toBe(b.pipeline!.hash)
  const described = describe(a.pipeline!)
  expect(toText(described, (_, text) => text)).toContain('- 9007199254740993')
  expect(JSON.stringify(described)).toContain('[9007199254740993]')
})
