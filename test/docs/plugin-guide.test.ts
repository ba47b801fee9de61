/** docs/guide/plugins.md: its code is that of the examples, word for word, and its commands work. */
import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runRunner, tempDir } from '../support/runner.ts'

const root = join(import.meta.dirname, '../..')
const guide = readFileSync(join(root, 'docs/guide/plugins.md'), 'utf8')

/** Fenced blocks with the comment in front of them. */
const blocks = [...guide.matchAll(/(?:<!-- (from|run in) (\S+) -->\n)?```(\w*)\n([^]*?)```\n/g)].map(([, how, path, language, text]) => ({
  how,
  path,
  language,
  text,
}))

const withoutIndent = (lines: readonly string[]): string => {
  const indent = Math.min(...lines.filter(line => line !== '').map(line => line.length - line.trimStart().length))
  return lines.map(line => line.slice(indent)).join('\n')
}

/** Are these lines in the file, one behind the other, with whatever indent? */
function contains(file: readonly string[], part: readonly string[]): boolean {
  const wanted = withoutIndent(part)
  return file.some((_, i) => withoutIndent(file.slice(i, i + part.length)) === wanted)
}

test('every code block names its file', () => {
  expect(blocks.length).toBeGreaterThan(12)
  expect(blocks.filter(({ how, language }) => how === undefined && language !== 'text').map(b => b.text)).toEqual([])
})

test.each(blocks.filter(b => b.how === 'from').map(b => [b.path, b.text]))('%s has it word for word: %#', (path, text) => {
  const file = readFileSync(join(root, path), 'utf8').split('\n')
  for (const part of text.trimEnd().split(/\n *\/\/ …\n/)) expect(contains(file, part.split('\n')), part).toBe(true)
})

test.each(blocks.filter(b => b.how === 'run in').map(b => [b.path, b.text]))(
  'the commands work in a copy of %s: %#',
  async (path, text) => {
    const cwd = tempDir()
    cpSync(join(root, path), cwd, { recursive: true })
    for (const [, command] of text.matchAll(/^\$ runner (.+)$/gm)) {
      const { code, stderr } = await runRunner(command.split(' '), { cwd })
      expect([command, code, code === 0 ? '' : stderr]).toEqual([command, 0, ''])
    }
  },
)
