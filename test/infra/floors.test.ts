import { existsSync, globSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { violations } from '../../scripts/floors.js'
import { tempDir } from '../support/runner.ts'

const root = join(import.meta.dirname, '../..')

function tree(files: Record<string, string>): string {
  const folder = tempDir()
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, 'src', file)), { recursive: true })
    writeFileSync(join(folder, 'src', file), text)
  }
  return folder
}

test('imports in src/ respect the floors', () => {
  expect(violations(root)).toEqual([])
})

test('every test folder has its folder in src/, except those that test the whole product', () => {
  const whole = ['conformance', 'deploy', 'docs', 'e2e', 'faults', 'fuzz', 'infra', 'package', 'simulation', 'support']
  const folders = new Set(globSync('*/**/*.ts', { cwd: join(root, 'test') }).map(dirname))
  const orphans = [...folders].filter(folder => !whole.includes(folder.split('/')[0]) && !existsSync(join(root, 'src', folder)))
  expect(orphans).toEqual([])
  expect(folders.size).toBeGreaterThan(30)
})

test.each([
  ['kit/a.ts', "import { x } from '../config/load.ts'", 'config/ is not below kit/'],
  ['config/a.ts', "const x = await import('../runtime/lane.ts')", 'runtime/ is not below config/'],
  ['runtime/a.ts', "export type { X } from '../connectors/kafka/x.ts'", 'connectors/ is not below runtime/'],
  ['transforms/a.ts', "import { x } from '../runtime/build.ts'", 'runtime/ is not below transforms/'],
  ['connectors/kafka/a.ts', "import { x } from '../redis/connect.ts'", 'connectors do not import each other'],
  ['connectors/kafka/client/a.ts', "let x: import('../../file/check.ts').X", 'connectors do not import each other'],
  ['config/a.ts', "import { PLUGINS } from '../generated/plugins.ts'", 'only src/built-in.ts'],
  ['attic/a.ts', "import { x } from '../kit/clock.ts'", 'no floor is known for attic'],
])('%s: %s is reported with its line', (file, line, why) => {
  expect(violations(tree({ [file]: `// head\n${line}\n` }))).toEqual([expect.stringContaining(`src/${file}:2: `)])
  expect(violations(tree({ [file]: line }))[0]).toContain(why)
})

test('imports downwards, within a floor, and of generated types are allowed', () => {
  const files = {
    'connectors/kafka/a.ts': "import '../../kit/clock.ts'\nimport './client/b.ts'\nimport '../../generated/config-types.ts'\n",
    'cli/a.ts': "import '../testing/x.ts'\nimport '../built-in.ts'\n",
  }
  expect(violations(tree(files))).toEqual([])
})
