/**
 * `npm test`: installs what is missing, then every check and all tests; the last line is `N passed, N failed`.
 * `npm test -- PATH...` (any argument of `vitest run`) runs only those tests.
 * `npm run test:quick` runs the fast checks, and the tests that start no server and no process.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { installCommands, installPackages, projectNode, root } from './bootstrap.js'
import { leftBehind } from './leftovers.js'
import { quickTests } from './quick-tests.js'

const quick = process.argv[2] === '--quick'
const filters = quick ? quickTests(root) : process.argv.slice(2)
let passed = 0
let failed = 0
/** Ctrl-C: the running tool gets it from the terminal, cleans up and ends; nothing new starts after it. */
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    interrupted = true
    current?.kill(signal)
  })
}
let current

installPackages()
if (!quick) await installCommands({ required: filters.length === 0 })
const node = projectNode()

if (quick) {
  await check('floors', 'scripts/floors.js', [])
  await check('types', bin('tsc'), ['--noEmit'])
  await check('gen --check', 'bin/runner.js', ['gen', '--check'])
} else if (filters.length === 0) {
  await check('lint', bin('oxlint'), ['--type-aware', '--quiet'])
  await check('floors', 'scripts/floors.js', [])
  await check('words', 'scripts/words.js', [])
  await check('format', bin('biome'), ['format', '--reporter=summary'])
  await check('types', bin('tsc'), ['--noEmit'])
  await check('gen --check', 'bin/runner.js', ['gen', '--check'])
  await check('validate pipelines/', 'bin/runner.js', ['validate', 'pipelines/'])
}
await runTests()
if (interrupted) failed++
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

function bin(name) {
  return join(root, 'node_modules', '.bin', name)
}

/** One check is one line, and its output only when it fails. */
async function check(name, script, args) {
  if (interrupted) return
  const start = Date.now()
  const { code, output } = await run([script, ...args], { capture: true })
  const ok = code === 0
  if (ok) passed++
  else failed++
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`)
  if (!ok) console.log(output)
}

async function runTests() {
  if (interrupted) return
  // Everything the tests start inherits the mark, and everything they write to a temporary place is in one.
  const mark = `${process.pid}-${Date.now()}`
  const temp = mkdtempSync(join(tmpdir(), 'runner-test-'))
  const report = join(root, 'node_modules', '.cache', `vitest-${mark}.json`)
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const { code } = await run([vitest, 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...filters], {
    // Node's compile cache, which the runner turns on, would land in the temporary directory.
    env: { TMPDIR: temp, RUNNER_TEST_RUN: mark, NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compile') },
  })
  count(report, code)
  const left = await leftBehind(mark, temp)
  rmSync(temp, { recursive: true, force: true, maxRetries: 5 })
  if (left.length === 0) passed++
  else failed++
  console.log(
    left.length === 0
      ? 'ok   nothing left running or lying about'
      : `FAIL left behind by the tests:\n${left.map(line => `  ${line}`).join('\n')}`,
  )
}

function count(report, code) {
  try {
    const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, 'utf8'))
    // A file that fails before its first test has no test to count.
    const broken = testResults.filter(
      file => file.status === 'failed' && !file.assertionResults.some(test => test.status === 'failed'),
    ).length
    passed += numPassedTests
    failed += numFailedTests + broken
    // Errors outside of any test: vitest fails, so do we.
    if (code !== 0 && numFailedTests + broken === 0) failed++
  } catch (error) {
    console.error(`no report from vitest (exit ${code}): ${error.message}`)
    failed++
  } finally {
    rmSync(report, { force: true })
  }
}

function run(args, { capture = false, env = {} }) {
  return new Promise(resolve => {
    let output = ''
    const child = spawn(node, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', capture ? 'pipe' : 'inherit', capture ? 'pipe' : 'inherit'],
    })
    current = child
    child.stdout?.on('data', chunk => (output += chunk))
    child.stderr?.on('data', chunk => (output += chunk))
    child.once('error', error => resolve({ code: 1, output: error.message }))
    child.once('close', code => resolve({ code: code ?? 1, output }))
  })
}
