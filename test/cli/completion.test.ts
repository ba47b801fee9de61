/** The completion scripts, each in its shell where that is installed; bash always is. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { tempDir } from '../support/runner.ts'

const BIN = fileURLToPath(new URL('../../bin/runner.js', import.meta.url))
const script = (shell: string): string => execFileSync(process.execPath, [BIN, 'completion', shell], { encoding: 'utf8', cwd: tempDir() })

test('bash completes commands, subcommands, options and choices', () => {
  const complete = `${script('bash')}
t() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _runner; echo "\${COMPREPLY[*]}"; }
t runner expl
t runner dlq re
t runner dlq ls --st
t runner run --set a=b p.yaml --fr
t runner run --log-format ''
t runner completion f
t runner run pipelines/none`
  expect(execFileSync('bash', ['-c', complete], { encoding: 'utf8' }).split('\n')).toEqual([
    'explain',
    'replay',
    '--step',
    '--from --fresh',
    'json pretty auto',
    'fish',
    '',
    '',
  ])
})

test('zsh and fish complete the same words', () => {
  const [zsh, fish] = [script('zsh'), script('fish')]
  const words = new Set(script('bash').match(/--[a-z-]+/g))
  for (const word of words) {
    expect(zsh).toContain(word)
    expect(fish).toContain(` -l ${word.slice(2)}`)
  }
})
