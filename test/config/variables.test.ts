/** `env.NAME` in expressions is always a value, never code. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatText } from '../../src/config/format.ts'
import { loadText } from '../../src/config/load.ts'
import { Message } from '../../src/contract/plugin.ts'
import { describe } from '../../src/explain/describe.ts'
import { compile } from '../../src/expressions/index.ts'
import { character } from '../support/characters.ts'

const file = (condition: string): string =>
  JSON.stringify({ name: 'p', sources: [{ stdin: {} }], transforms: [{ filter: condition }], sinks: [{ stdout: {} }] })

async function conditionOf(condition: string, env: Record<string, string>): Promise<string> {
  const { pipeline, problems } = await loadText('p.yaml', file(condition), { env })
  expect(formatText(problems)).toBe('')
  return pipeline!.transforms[0].config.condition as string
}

const problemsOf = async (condition: string, env: Record<string, string> = {}) =>
  (await loadText('p.yaml', file(condition), { env })).problems
const evaluate = (text: string, value: object): unknown => compile(text).evaluate(new Message(value))

test('a value that looks like code stays a string', async () => {
  for (const token of ['x" || true || "', "' || true", '\\" || true || \\"', '""" || true', '\n|| true // ', '${A}', 'env.B']) {
    const condition = await conditionOf('token == env.TOKEN', { TOKEN: token, A: 'a', B: 'b' })
    expect(evaluate(condition, { token: 'other' })).toBe(false)
    expect(evaluate(condition, { token })).toBe(true)
  }
})

test('a string equals only itself', async () => {
  const text = fc.string({ unit: character, maxLength: 20 }).filter(t => !t.includes('\0'))
  await fc.assert(
    fc.asyncProperty(text, text, async (value, other) => {
      const condition = await conditionOf('a == env.V', { V: value })
      expect(evaluate(condition, { a: value })).toBe(true)
      expect(evaluate(condition, { a: other })).toBe(value === other)
    }),
    { numRuns: 60 },
  )
})

test('a default replaces a variable that is not set or empty', async () => {
  const text = 'a == env.?V.orValue("d")'
  expect(evaluate(await conditionOf(text, {}), { a: 'd' })).toBe(true)
  expect(evaluate(await conditionOf(text, { V: '' }), { a: 'd' })).toBe(true)
  expect(evaluate(await conditionOf(text, { V: 'v' }), { a: 'v' })).toBe(true)
})

test('strings, comments and fields of the record are not substituted', async () => {
  const env = { A: 'a' }
  for (const text of [
    'a == "env.A"',
    "a == 'it\\'s env.A'",
    'a == r"env.A"',
    'value.env.A == "a"',
    'env.region == "a"',
    'a == 1 // env.A',
    'x.env.A == 1',
  ])
    expect(await conditionOf(text, env)).toBe(text)
})

test('a missing variable is one problem, under its name', async () => {
  const problems = await problemsOf('a == env.TOKEN', { TOKENS: 'x' })
  expect(problems).toMatchObject([{ code: 'CONFIG_ENV_MISSING', suggestion: 'env.TOKENS' }])
  expect(file('a == env.TOKEN').slice(problems[0].column - 1, problems[0].endColumn - 1)).toBe('env.TOKEN')
})

test.each([
  ['a == "${V}"', 'a == env.V'],
  ["a == '${V:-x}'", 'a == env.?V.orValue("x")'],
  ['a == "v-${V}".trim()', 'a == ("v-" + env.V).trim()'],
  ['a > ${V:-3}', 'a > decimal(env.?V.orValue("3"))'],
])('the old form %s is an error that shows the new one', async (old, modern) => {
  const problems = await problemsOf(old, { V: '7' })
  expect(problems).toMatchObject([{ code: 'CONFIG_EXPRESSION', suggestion: modern }])
  expect(await conditionOf(modern, { V: '7' })).toContain('"7"')
})

test('the old form is one problem, also if the variables are not set', async () => {
  expect(await problemsOf('a == "${V}" || a == "${W}"')).toMatchObject([
    { code: 'CONFIG_EXPRESSION', suggestion: 'a == env.V || a == env.W' },
  ])
})

test('a variable may contain the whole expression', async () => {
  expect(await conditionOf('${WHOLE:-a > 1}', {})).toBe('a > 1')
  expect(await conditionOf('${WHOLE}', { WHOLE: 'b == "x"' })).toBe('b == "x"')
})

test('explain shows the names of variables, also in conditions of steps', async () => {
  const text = JSON.stringify({
    name: 'p',
    sources: [{ stdin: {} }],
    transforms: [{ filter: 'a == env.TOKEN', when: 'b == env.?OTHER.orValue("x")' }],
    sinks: [{ stdout: {} }],
  })
  const { pipeline } = await loadText('p.yaml', text, { env: { TOKEN: 'canary-1', OTHER: 'canary-2' } })
  expect(pipeline!.transforms[0].when).toContain('canary-2')
  const shown = JSON.stringify(describe(pipeline!))
  expect(shown).not.toContain('canary')
  expect(shown).toContain('env.TOKEN')
  expect(shown).toContain('env.?OTHER')
})
