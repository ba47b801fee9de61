/** The security model names a test for each defense: each row has one, and the files exist. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const section = readFileSync(join(root, 'docs/security.md'), 'utf8')
  .split(/^## /m)
  .find(text => text.startsWith('Threats, defenses, tests'))!
const rows = section
  .split('\n')
  .filter(line => line.startsWith('| '))
  .slice(1)
  .map(line => line.slice(2, -2).split(/ \| /))

test('the table is parsed', () => {
  expect(rows.length).toBeGreaterThan(25)
  expect(rows.filter(row => row.length !== 3)).toEqual([])
})

test.each(rows)('%s', (_threat, _defense, proof) => {
  const paths = [...proof.matchAll(/`(test\/[^`]+)`/g)].map(([, path]) => path)
  expect(paths, 'a row without a test').not.toEqual([])
  for (const path of paths) {
    expect(existsSync(join(root, path)), `${path} does not exist`).toBe(true)
    expect(statSync(join(root, path)).isFile() && path.endsWith('.ts'), `${path} is not a test file`).toBe(true)
  }
})
