import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runRunner, tempDir } from '../../support/runner.ts'

test('a second run over a file that was read to its end logs that, and --fresh reads it again', async () => {
  const cwd = tempDir({
    'in.jsonl': '{"a":1}\n{"a":2}\n',
    'p.yaml': 'name: again\nsources: [{ file: in.jsonl }]\nsinks: [{ file: out.jsonl }]\n',
  })
  const go = async (...args: string[]): Promise<{ said: boolean; out: string }> => {
    const { code, stderr } = await runRunner(['run', 'p.yaml', ...args], { cwd })
    expect(code, stderr).toBe(0)
    return {
      said: stderr.includes('has already been read to its end; `runner run --fresh` reads it again'),
      out: readFileSync(join(cwd, 'out.jsonl'), 'utf8'),
    }
  }
  const once = '{"a":1}\n{"a":2}\n'
  expect(await go()).toEqual({ said: false, out: once })
  expect(await go()).toEqual({ said: true, out: once })
  expect(await go('--fresh')).toEqual({ said: false, out: once + once })
})
