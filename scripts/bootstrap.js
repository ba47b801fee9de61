/**
 * What `npm test`, `npm run demo` and `npm run bench` do first, on a machine with nothing but Node and npm: plain
 * JavaScript without dependencies, for any Node from 18 on. Everything after it runs on the project's own Node.
 */
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** Debian packages of the commands that tests and benchmarks start. */
const PACKAGES = {
  java: 'default-jdk-headless',
  mvn: 'maven',
  kcat: 'kcat',
  chromium: 'chromium',
  'redis-server': 'redis-server',
  openssl: 'openssl',
}

/** Installs the npm packages when they are missing or not those of package-lock.json. */
export function installPackages() {
  const stale = staleReason()
  if (stale === undefined) return
  console.error(`npm ci: ${stale}`)
  // Also for a caller's `npm test --omit=dev` or NODE_ENV=production: the tools are dev dependencies.
  const { status } = spawnSync('npm', ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  })
  if (status !== 0) fail('npm ci failed: its messages are above')
}

/**
 * By content, not by file times, which a checkout changes: npm keeps a copy of what it has installed.
 * @returns {string | undefined}
 */
function staleReason() {
  const wanted = readLock(join(root, 'package-lock.json'))
  const present = readLock(join(root, 'node_modules', '.package-lock.json'))
  if (wanted === undefined) fail('package-lock.json is missing')
  if (present === undefined) return 'installing'
  for (const [path, entry] of Object.entries(wanted)) {
    // Optional ones are those of other platforms.
    if (path === '' || entry.optional === true) continue
    if (present[path]?.version !== entry.version) return `installing, ${path} is not ${entry.version}`
  }
  return undefined
}

/** @returns {Record<string, {version?: string, optional?: boolean}> | undefined} */
function readLock(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages
  } catch {
    return undefined
  }
}

/** Path of the Node that runs the project's TypeScript as it is. */
export function projectNode() {
  const own = join(root, 'node_modules', 'node', 'bin', 'node')
  if (existsSync(own)) return own
  // Installed with scripts turned off: the binary is fetched by one.
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath
  return fail(`the project's Node 24 is not installed (npm with ignore-scripts?) and this is ${process.version}: run npm rebuild node`)
}

/**
 * Installs the commands that tests on real servers need: as root on Debian, after a question; under `CI=true` without one.
 * Without a terminal, it prints what to install and ends with exit code 3.
 * @param {{ required?: boolean }} options `required: false`: it only says what is missing; the tests that need it say so again
 */
export async function installCommands({ required = true } = {}) {
  const missing = Object.keys(PACKAGES).filter(command => !onPath(command))
  if (missing.length === 0) return
  const names = missing.map(command => PACKAGES[command])
  const isRoot = process.getuid?.() === 0
  const command = `${isRoot ? '' : 'sudo '}apt-get install --no-install-recommends ${names.join(' ')}`
  const debian = onPath('apt-get')
  const how = debian ? command : `the packages that Debian calls ${names.join(', ')}`
  console.error(`Tests on real servers need ${missing.join(', ')}: not installed.`)
  if (!required || !isRoot || !debian) {
    console.error(`To install: ${how}`)
    return
  }
  if (process.env.CI !== 'true') {
    if (!process.stdin.isTTY || !process.stderr.isTTY)
      fail(`To install: ${how}\nOr run with CI=true, which installs without asking, or npm run test:quick, which needs none of them.`, 3)
    if (!(await confirm(`Run \`${command}\` now? [y/N] `)))
      fail('Nothing was installed. npm run test:quick runs the tests that need none of them.', 3)
  }
  console.error(command)
  const install = () => apt('install', '--no-install-recommends', ...names)
  // The package lists of an image are usually absent or old.
  if (!install() && !(apt('update') && install())) console.error('apt-get failed: tests on real servers will say what they miss')
}

/** Anything but a yes is a no, also the end of the input. */
function confirm(question) {
  return new Promise(resolve => {
    const terminal = createInterface({ input: process.stdin, output: process.stderr })
    terminal.once('close', () => resolve(false))
    terminal.question(question, answer => {
      resolve(/^y(es)?$/i.test(answer.trim()))
      terminal.close()
    })
  })
}

function apt(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  return spawnSync('apt-get', ['-qq', '-y', ...args], { stdio: ['ignore', 2, 2], env }).status === 0
}

function onPath(command) {
  return (process.env.PATH ?? '').split(delimiter).some(dir => {
    try {
      accessSync(join(dir, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/**
 * Runs a script of the project on the project's Node, with this process's terminal, and ends as it ends.
 * @param {string} script path from the root
 * @param {readonly string[]} args
 */
export function runProject(script, args) {
  // kafkajs on Node 24 computes a timer in the past and Node says so.
  const options = ['--disable-warning=TimeoutNegativeWarning', '--import', new URL('source.js', import.meta.url).href]
  const child = spawn(projectNode(), [...options, join(root, script), ...args], { stdio: 'inherit' })
  // Ctrl-C reaches the child by the terminal; it decides, and we end as it does.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  child.once('error', error => fail(`can't start ${projectNode()}: ${error.message}`))
  child.once('exit', (code, signal) => {
    process.removeAllListeners('SIGINT')
    process.removeAllListeners('SIGTERM')
    if (signal === null) process.exitCode = code ?? 1
    else process.kill(process.pid, signal)
  })
}

/** @returns {never} */
export function fail(message, code = 1) {
  console.error(message)
  process.exit(code)
}
