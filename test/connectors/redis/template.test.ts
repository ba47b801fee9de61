import { expect, test } from 'vitest'
import { DataError, Message } from '../../../src/contract/plugin.ts'
import { template } from '../../../src/connectors/redis/template.ts'

test.each([
  ['<key>', '__runner:fence:x'],
  ['__runner<key>', ':fence:x'],
  ['__runner:live:<key>', 'x'],
])('a message cannot select a key of the runner: %s of %s', (pattern, key) => {
  expect(() => template(pattern)(new Message({ key }))).toThrow(DataError)
  expect(() => template(pattern)(new Message({ key }))).toThrow('keys that begin with __runner: belong to the runner')
})

test.each([
  ['<key>', '__other', '__other'],
  ['a:<key>', '__runner:x', 'a:__runner:x'],
])('%s of %s is %s', (pattern, key, name) => expect(template(pattern)(new Message({ key }))).toBe(name))
