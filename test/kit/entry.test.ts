/** `pipeline-runner/kit`: external plugins have the same building blocks as built-in ones. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Message } from '../../src/contract/plugin.ts'
import * as kit from '../../src/kit.ts'

const root = join(import.meta.dirname, '../..')
const files = execFileSync('git', ['ls-files', 'src/connectors', 'src/transforms'], { cwd: root, encoding: 'utf8' })
  .split('\n')
  .filter(f => f.endsWith('.ts'))
const exported = readFileSync(join(root, 'src/kit/index.ts'), 'utf8')

/** A stranger takes a client library for the one; the other is about the process of the runner itself. */
const OURS = ['src/kit/postgres/', 'src/kit/pipeline-status.ts']

test.each(files)('%s imports only exports of the kit', file => {
  const text = readFileSync(join(root, file), 'utf8')
  for (const [, path] of text.matchAll(/from '(\.[^']+)'/g)) {
    const target = normalize(join(dirname(file), path))
    if (OURS.some(folder => target.startsWith(folder))) continue
    if (target.startsWith('src/kit/')) expect(exported).toContain(`'./${target.slice('src/kit/'.length)}'`)
    if (target.startsWith('src/expressions/')) expect(target).toBe('src/expressions/index.ts')
  }
})

test('every export of the kit has a comment that describes it', () => {
  const bare: string[] = []
  for (const [, path] of exported.matchAll(/from '\.\/([^']+\.ts)'/g)) {
    const lines = readFileSync(join(root, 'src/kit', path), 'utf8').split('\n')
    lines.forEach((line, i) => {
      if (/^export (?!type \{|\{)/.test(line) && !lines[i - 1]?.trimEnd().endsWith('*/')) bare.push(`${path}: ${line}`)
    })
  }
  expect(bare).toEqual([])
})

describe('expressions', () => {
  const m = (value: unknown): Message => new Message(value, 'BTC', 5)
  test('compile once per plugin and evaluate per message', () => {
    const cheap = kit.compile('price < 10.0 && meta.key == "BTC"')
    expect(cheap.type).toBe('bool')
    expect([cheap.evaluate(m({ price: 5 })), cheap.evaluate(m({ price: 50 }))]).toEqual([true, false])
    expect(() => cheap.evaluate(m({}))).toThrow(/price/)
  })
  test('report syntax errors with their position', () => {
    expect(kit.checkExpression('price > 1.0')).toEqual({ type: 'bool' })
    expect(kit.checkExpression('nope(1)')).toMatchObject({ problems: [{ start: 0 }] })
  })
})
