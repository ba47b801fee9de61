import { chmodSync, lstatSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { replaceFile } from '../../src/kit/replace-file.ts'
import { tempDir } from '../support/runner.ts'

test('a file is replaced by a new one: permissions and links stay, and nothing is left beside it', () => {
  const dir = tempDir({ 'a.yaml': 'old' })
  const [file, link] = [join(dir, 'a.yaml'), join(dir, 'link.yaml')]
  chmodSync(file, 0o640)
  symlinkSync('a.yaml', link)
  const before = statSync(file).ino
  replaceFile(link, 'new')
  expect(readFileSync(file, 'utf8')).toBe('new')
  // Overwritten in place, it would be empty or cut short if the process were killed.
  expect(statSync(file).ino).not.toBe(before)
  expect(statSync(file).mode & 0o777).toBe(0o640)
  expect(lstatSync(link).isSymbolicLink()).toBe(true)
  expect(readdirSync(dir)).toEqual(['a.yaml', 'link.yaml'])
})

test('a file that does not exist is not created', () => {
  const dir = tempDir()
  expect(() => replaceFile(join(dir, 'a.yaml'), 'new')).toThrow(/ENOENT/)
  expect(readdirSync(dir)).toEqual([])
})
