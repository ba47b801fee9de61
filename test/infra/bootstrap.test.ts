/** `npm test` on a machine where commands are missing. The available commands, and apt-get, are scripts of this test. */
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { quickTests } from '../../scripts/quick-tests.js'
import { tempDir } from '../support/runner.ts'

const root = join(import.meta.dirname, '../..')
const BOOTSTRAP = pathToFileURL(join(root, 'scripts/bootstrap.js')).href
const LIST = 'default-jdk-headless maven kcat chromium redis-server openssl'

interface Machine {
  readonly uid?: number
  readonly ci?: string
  readonly required?: boolean
  /** Terminal input; undefined: no terminal. */
  readonly typed?: string
}

/** Runs `installCommands` as root or not, where nothing but apt-get is on the PATH. */
async function install({ uid = 0, ci, required = true, typed }: Machine) {
  const folder = tempDir({ 'apt-get': '#!/bin/sh\necho "$@" >> "${0%/*}/calls"\n' })
  chmodSync(join(folder, 'apt-get'), 0o755)
  mkdirSync(join(folder, 'bin'))
  const code = `process.getuid = () => ${uid}; const { installCommands } = await import('${BOOTSTRAP}'); await installCommands({ required: ${required} }); console.log('goes on')`
  const env = { PATH: folder, ...(ci === undefined ? {} : { CI: ci }) }
  const terminal = typed === undefined ? undefined : `process.stdin.isTTY = process.stderr.isTTY = true; `
  const child = spawn(process.execPath, ['--input-type=module', '-e', `${terminal ?? ''}${code}`], { env, stdio: 'pipe' })
  child.stdin.end(typed)
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', chunk => (stdout += chunk))
  child.stderr.on('data', chunk => (stderr += chunk))
  const exit = await new Promise(resolve => child.once('close', resolve))
  const calls = join(folder, 'calls')
  return { exit, stdout, stderr, calls: existsSync(calls) ? readFileSync(calls, 'utf8') : '' }
}

describe('missing commands', () => {
  test('as root, without a terminal and without CI: installs no package, prints the fix, and exits with 3', async () => {
    for (const ci of [undefined, 'false', '1']) {
      const { exit, stdout, stderr, calls } = await install({ ci })
      expect([exit, stdout, calls]).toEqual([3, '', ''])
      expect(stderr).toContain(`To install: apt-get install --no-install-recommends ${LIST}\n`)
      expect(stderr).toContain('npm run test:quick')
    }
  })
  test('under CI=true: prints and installs the packages', async () => {
    const { exit, stdout, stderr, calls } = await install({ ci: 'true' })
    expect([exit, stdout]).toEqual([0, 'goes on\n'])
    expect(stderr).toContain(`\napt-get install --no-install-recommends ${LIST}\n`)
    expect(calls).toBe(`-qq -y install --no-install-recommends ${LIST}\n`)
  })
  test('on a terminal: prompts first', async () => {
    const yes = await install({ typed: 'y\n' })
    expect(yes.stderr).toContain(`Run \`apt-get install --no-install-recommends ${LIST}\` now? [y/N]`)
    expect([yes.exit, yes.stdout, yes.calls]).toEqual([0, 'goes on\n', `-qq -y install --no-install-recommends ${LIST}\n`])
    for (const typed of ['\n', 'n\n', '']) {
      const no = await install({ typed })
      expect([no.exit, no.stdout, no.calls]).toEqual([3, '', ''])
    }
  })
  test.each([{ uid: 1000 }, { uid: 1000, ci: 'true' }, { required: false }])('%j: prints how to install, and continues', async options => {
    const { exit, stdout, stderr, calls } = await install(options)
    expect([exit, stdout, calls]).toEqual([0, 'goes on\n', ''])
    expect(stderr).toContain('To install: ')
  })
})

test('.ci/run installs without a prompt', () => {
  expect(readFileSync(join(root, '.ci/run'), 'utf8')).toMatch(/^export CI=true$/m)
})

test('test:quick includes the tests that start no server and no process', () => {
  const quick = quickTests(root)
  expect(quick.length).toBeGreaterThan(70)
  expect(quick).toContain('test/runtime/guard.test.ts')
  expect(quick).toContain('examples/plugins/on-change/on_change.test.ts')
  const [direct, bySupport, byProcess] = ['test/connectors/kafka/faults.test.ts', 'test/e2e/wallet.test.ts', 'test/cli/plugins.test.ts']
  for (const file of [direct, bySupport, byProcess])
    expect([file, existsSync(join(root, file)), quick.includes(file)]).toEqual([file, true, false])
})
