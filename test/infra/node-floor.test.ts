import { execFileSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { nodeOf } from '../support/nodes.ts'

const SRC = join(import.meta.dirname, '../../src')

/** A name that is missing ends the program when the module is loaded, which may be long after `validate` passed. */
test('the oldest supported Node has every API that is imported from it', () => {
  const wanted: Record<string, string[]> = {}
  for (const file of globSync('**/*.ts', { cwd: SRC }))
    for (const [, names, module] of readFileSync(join(SRC, file), 'utf8').matchAll(/^import (?:\w+, )?\{([^}]*)\} from '(node:[^']+)'/gm))
      for (const name of names!.split(',').map(n => n.trim()))
        if (name !== '' && !name.startsWith('type ')) (wanted[module!] ??= []).push(name.split(' as ')[0]!)
  expect(wanted['node:sea']).toContain('getRawAsset')
  const script = `const wanted = ${JSON.stringify(wanted)}
for (const [module, names] of Object.entries(wanted)) for (const name of names) if (!(name in require(module))) console.log(module + ' ' + name)`
  expect(execFileSync(nodeOf(22), ['--no-warnings', '-e', script], { encoding: 'utf8' })).toBe('')
})
