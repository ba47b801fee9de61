import { expect, test } from 'vitest'
import '../../src/built-in.ts'
import { loadText } from '../../src/config/load.ts'

const messages = async (text: string, code: string): Promise<string[]> =>
  (await loadText('p.yaml', text)).problems.filter(p => p.code === code).map(p => p.message)

test.each([
  ['a: { k: items[0].id }', 'unexpected text after the value: put the whole value in quotes'],
  ['a: "x" y', 'unexpected text after the value: put the whole value in quotes'],
  ['a: @b', 'put a value that starts with @ in quotes'],
  ['a: *', 'missing name after *; put a value that starts with * in quotes'],
  ['a: &', 'missing name after &; put a value that starts with & in quotes'],
  ['a: "\\q"', 'unknown escape sequence: write \\\\ for a backslash, or use single quotes'],
  ['a: [1,,2]', 'missing entry before this comma'],
  ['a: {"a":1, "b"2}', 'missing comma or colon between two entries'],
  ['a: |x\n  b', 'unexpected text after | or >: start the text in the next line'],
  ['a: &x &y 1', 'a value can have only one anchor'],
  ['a: !!str !!int 1', 'tags are not supported'],
  ['a: &x *y', 'an alias cannot have an anchor or a tag'],
  ['a: "x"#c', 'missing space before the # of a comment'],
  ['a: - b', 'start a list in the line after its key'],
  ['a: {a: b: c}', 'inside [ ] and { }, put a value that contains `: ` in quotes, and a nested map or list in brackets'],
  ['--- a: b', 'start the document in the line after ---'],
  ['a: ]', '] without an opening bracket: remove it, or put the value in quotes'],
  ['a: [1', '[ is not closed: add ]'],
  ['a: [\n1,\nb: [2]', '[ is not closed: add ]'],
  ['a: [\n1,\n]x', 'indent the lines between [ and ], and ] itself, more than the key'],
  ['a: {\nb: 1\n}', 'indent the lines between { and }, and } itself, more than the key'],
  ['a: "x', 'missing closing quote'],
])('%s: the message is that of the runner, not of the YAML library', async (text, message) => {
  expect(await messages(`${text}\n`, 'CONFIG_YAML')).toEqual([message])
})

test('a value or a key that does not match a pattern: the description or an example instead of the regular expression', async () => {
  const text = (url: string, key: string): string =>
    `name: p\nsources: [{ websocket: { url: ${url} } }]\ntransforms: [{ map: { fields: { ${key}: a } } }]\nsinks: [{ stdout: {} }]\n`
  const found = [...(await messages(text('x', 'a..b'), 'CONFIG_VALUE')), ...(await messages(text('x', 'a..b'), 'CONFIG_UNKNOWN_KEY'))]
  expect(found).toEqual([expect.stringMatching(/^has the wrong form: \w/), 'the key a..b has the wrong form: write it as in price.last'])
  expect(found.join()).not.toMatch(/[\^$]|\(\?/)
})
