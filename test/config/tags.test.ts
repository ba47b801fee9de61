import { expect, test } from 'vitest'
import { loadInput } from '../../src/config/load.ts'

const tags = [
  '!!omap [a: 1]',
  '!!pairs [a: 1, a: 2]',
  '!!set {a, b}',
  '!!set [a]',
  '!!binary aGk=',
  '!!timestamp 2026-01-01',
  '!!str 3',
  '!!map {a: 1}',
  '!own x',
  '!!merge a',
  '&x !!omap [a: 1]',
]

test.each(tags)('%s is reported with its position, anywhere in the file', async tag => {
  for (const text of [
    `name: n\nsources: [{ stdin: {} }]\ntransforms: [{ filter: ${tag} }]\nsinks: [{ stdout: {} }]\n`,
    `name: n\nsources: ${tag}\nsinks: [{ stdout: {} }]\n`,
    `name: n\nsources: [{ stdin: {} }]\nsinks: [{ file: { path: ${tag} } }]\n`,
  ]) {
    const { problems } = await loadInput(text)
    const line = text.split('\n').findIndex(l => l.includes(tag)) + 1
    expect(problems).toContainEqual(expect.objectContaining({ code: 'CONFIG_TAG', line }))
  }
})

test.each(['!!str a', '!!merge <<', '!own a', '! a'])('%s as a key is reported with its position', async key => {
  const { problems } = await loadInput(
    `name: n\nsources: [{ stdin: {} }]\ntransforms:\n  - map:\n      fields:\n        ${key}: x\nsinks: [{ stdout: {} }]\n`,
  )
  expect(problems).toContainEqual(expect.objectContaining({ code: 'CONFIG_TAG', line: 6 }))
})
