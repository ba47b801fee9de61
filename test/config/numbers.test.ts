import { expect, test } from 'vitest'
import { loadInput } from '../../src/config/load.ts'

const schema = (value: string): string => `name: n
sources: [{ stdin: {} }]
transforms: [{ validate: { schema: { properties: { id: { enum: [${value}] } } } } }]
sinks: [{ stdout: {} }]
`

test.each([
  '9007199254740993',
  '-9007199254740993',
  '12345678901234567.89',
  '123456789012345678901234567890',
  '0x20000000000001',
  '1e-400',
])('a number that a double does not hold is a problem, never another number: %s', async value => {
  const { problems } = await loadInput(schema(value))
  expect(problems).toMatchObject([
    { code: 'CONFIG_VALUE', line: 3, column: 65, message: expect.stringMatching(/ would be read as .*: put the schema into a file/) },
  ])
})

test.each(['9007199254740992', '1.10', '0.1', '-0', '1e3', '123456789012345680000', '5e-324', '0x10', '.5'])(
  'one that it holds is none: %s',
  async value => {
    expect((await loadInput(schema(value))).problems).toEqual([])
  },
)

test('elsewhere a quoted text is the way out', async () => {
  const { problems } = await loadInput(schema('1').replace('stdout: {}', 'memory: 9007199254740993'))
  expect(problems.map(p => p.message)).toContainEqual(expect.stringMatching(/write it as text, in quotes/))
})
