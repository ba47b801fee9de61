/** `npm run licenses` and `npm run sbom`: all packages that a user installs have known licenses. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tempDir } from '../support/runner.ts'

const root = join(import.meta.dirname, '../..')
const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }

function script(name: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'scripts', name), ...args], { encoding: 'utf8' })
  return { status, stdout, stderr }
}

/** Runs the check on a lock file of `packages`, with `app` as the only dependency. */
function check(packages: Record<string, object>, peers: Record<string, string> = {}) {
  const lock = join(tempDir(), 'package-lock.json')
  writeFileSync(lock, JSON.stringify({ packages: { '': { dependencies: { app: '1' }, peerDependencies: peers }, ...packages } }))
  return script('licenses.js', lock)
}

test('every package in the distribution has a permissive license', () => {
  const { status, stdout, stderr } = script('licenses.js')
  expect(stderr).toBe('')
  expect(status).toBe(0)
  // Also used by development packages: `npm sbom --omit dev` omits these.
  for (const name of ['pg', 'yaml', 'ajv']) expect(stdout).toMatch(new RegExp(`[ ,]${name}@`))
  expect(stdout).not.toContain('vitest')
})

test('--notices: the license text of every package in the distribution', () => {
  const { status, stdout } = script('licenses.js', '--notices')
  expect(status).toBe(0)
  const entries = stdout.split(`\n\n${'-'.repeat(80)}\n\n`)
  const names = entries.map(entry => /^(\S+) \d/.exec(entry)![1])
  expect(names).toEqual(expect.arrayContaining(Object.keys(dependencies).filter(name => !name.startsWith('@types/'))))
  expect(names).not.toContain('vitest')
  // Those that are published without a license file.
  expect(names.filter((_, i) => entries[i].includes('has no license file'))).toEqual(['pg-types', 'pgpass'])
})

test('a copyleft license, deep in the tree, fails and is named', () => {
  const { status, stderr } = check({
    'node_modules/app': { version: '1.0.0', license: 'MIT', dependencies: { deep: '1' } },
    'node_modules/app/node_modules/deep': {
      version: '2.0.0',
      license: 'MIT OR GPL-3.0',
      optionalDependencies: { deeper: '1', absent: '1' },
    },
    'node_modules/deeper': { version: '3.0.0', license: '(MIT AND LGPL-3.0)' },
    'node_modules/deep': { version: '1.0.0', license: 'GPL-3.0' },
  })
  expect(status).toBe(1)
  expect(stderr).toContain('\n  deeper@3.0.0: (MIT AND LGPL-3.0)\n')
  expect(stderr).not.toContain('deep@')
})

test('a package without a license fails', () => {
  const { status, stderr } = check({ 'node_modules/app': { version: '1.0.0' } })
  expect(status).toBe(1)
  expect(stderr).toContain('app@1.0.0: none')
})

test('a license accepted for an optional peer is not accepted for a dependency', () => {
  const packages = {
    'node_modules/app': { version: '1.0.0', license: 'MIT' },
    'node_modules/elkjs': { version: '1.0.0', license: 'EPL-2.0' },
  }
  expect(check(packages, { elkjs: '1' }).status).toBe(0)
  packages['node_modules/app'] = Object.assign({ dependencies: { elkjs: '1' } }, packages['node_modules/app'])
  expect(check(packages).stderr).toContain('elkjs@1.0.0: EPL-2.0')
})

test('the bill of materials has exactly the package and its production dependencies', () => {
  const { status, stdout, stderr } = script('sbom.js')
  expect(status, stderr).toBe(0)
  const { metadata, components } = JSON.parse(stdout) as { metadata: { component: { name: string } }; components: { name: string }[] }
  expect(metadata.component.name).toBe('pipeline-runner')
  const names = components.map(component => component.name)
  expect(names).toEqual(expect.arrayContaining(Object.keys(dependencies)))
  expect(names).not.toContain('vitest')
  expect(names).not.toContain('beautiful-mermaid')
})
