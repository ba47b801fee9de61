/** The compile cache is code that every command runs: `bin/runner.js` uses a folder only if no other user can write to it. */
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runRunner, tempDir } from '../support/runner.ts'

const NAME = 'pipeline-runner'

/** `--version` with this cache directory. @returns whether compiled code was placed in `folder` */
async function fills(caches: string, folder = join(caches, NAME)): Promise<boolean> {
  const { code } = await runRunner(['--version'], { cwd: tempDir(), env: { XDG_CACHE_HOME: caches, NODE_COMPILE_CACHE: undefined } })
  expect(code).toBe(0)
  return existsSync(folder) && readdirSync(folder).length > 0
}

test('the cache folder is accessible only to its user, and filled', async () => {
  const caches = join(tempDir(), 'caches')
  expect(await fills(caches)).toBe(true)
  expect([caches, join(caches, NAME)].map(path => (statSync(path).mode & 0o777).toString(8))).toEqual(['700', '700'])
})

test.each(['770', '707', '777'])('a folder of mode %s, or in a folder of this mode, is not used', async text => {
  const mode = Number.parseInt(text, 8)
  const caches = tempDir()
  mkdirSync(join(caches, NAME))
  chmodSync(join(caches, NAME), mode)
  expect(await fills(caches)).toBe(false)
  chmodSync(join(caches, NAME), 0o700)
  chmodSync(caches, mode)
  expect(await fills(caches)).toBe(false)
  chmodSync(caches, 0o755)
  expect(await fills(caches)).toBe(true)
})

test('a symbolic link in place of the cache folder is not followed', async () => {
  const [caches, elsewhere] = [tempDir(), tempDir()]
  symlinkSync(elsewhere, join(caches, NAME))
  expect(await fills(caches, elsewhere)).toBe(false)
})

/** Only root can give a folder away. */
test.runIf(process.getuid?.() === 0)('a cache folder of another user is not used', async () => {
  const caches = tempDir()
  mkdirSync(join(caches, NAME), { mode: 0o700 })
  chownSync(join(caches, NAME), 65_534, 65_534)
  expect(await fills(caches)).toBe(false)
})
