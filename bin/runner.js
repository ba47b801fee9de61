#!/usr/bin/env node
// Plain JavaScript that any Node from 18 on can read: an old one must be able to say that it is too old.
import { spawn } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync } from 'node:fs'
import module from 'node:module'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const MARK = 'RUNNER_STARTED_AGAIN'
// The package has JavaScript in dist/ and no src/. A checkout runs its TypeScript, on Node 24, which npm has installed in it.
const checkout = existsSync(join(root, 'src/cli/main.ts'))
const own = join(root, 'node_modules/node/bin', process.platform === 'win32' ? 'node.exe' : 'node')

if (checkout ? newer(24, 0) : newer(22, 15)) {
  dieWithParent()
  keepCompiledCode()
  dropSqliteWarning()
  const { main } = await import(checkout ? '../src/cli/main.ts' : '../dist/cli/main.js')
  await main(process.argv.slice(2))
} else if (checkout && existsSync(own)) startAgain(own)
else {
  process.stderr.write(
    `error: pipeline-runner needs Node.js ${checkout ? '24' : '22.15'} or later; this is ${process.version} (${process.execPath}).\n${
      checkout ? 'Run npm install, which installs one in this checkout.' : 'Install a newer one: https://nodejs.org/en/download'
    }\n`,
  )
  process.exitCode = 3
}

function newer(major, minor) {
  const [ownMajor, ownMinor] = process.versions.node.split('.').map(Number)
  return ownMajor > major || (ownMajor === major && ownMinor >= minor)
}

/**
 * Compiled code, kept between starts, is half of the start-up time. Write access to it is enough to run any code as this
 * user. So it is in a folder that only this user can write to, and never in Node's default, which is shared in /tmp.
 */
function keepCompiledCode() {
  // Node has read NODE_COMPILE_CACHE itself.
  if (process.env.NODE_COMPILE_CACHE || !module.enableCompileCache) return
  try {
    const home = homedir()
    const caches =
      process.env.XDG_CACHE_HOME ||
      (process.platform === 'win32' ? process.env.LOCALAPPDATA : join(home, process.platform === 'darwin' ? 'Library/Caches' : '.cache'))
    if (!caches) return
    mkdirSync(caches, { recursive: true, mode: 0o700 })
    const folder = join(caches, 'pipeline-runner')
    try {
      mkdirSync(folder, { mode: 0o700 })
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (ownedByMe(caches) && ownedByMe(folder)) module.enableCompileCache(folder)
  } catch {
    // No home, or none that can be written: it starts slower.
  }
}

/** Node 22 calls node:sqlite experimental. Its part that is used here is what Node 24 has, and the tests run on both. */
function dropSqliteWarning() {
  const emit = process.emitWarning
  process.emitWarning = (warning, ...rest) => {
    if (!String(warning).startsWith('SQLite is an experimental feature')) emit.call(process, warning, ...rest)
  }
}

/** A real folder of this user that no other user can write to. Windows has no such bits: its folder of local data is the user's own. */
function ownedByMe(folder) {
  if (process.platform === 'win32') return true
  const stat = lstatSync(folder)
  return stat.isDirectory() && stat.uid === process.getuid() && (stat.mode & 0o022) === 0
}

function startAgain(node) {
  // After `--`, Node.js leaves --env-file to the command.
  const child = spawn(node, [...process.execArgv, '--', fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    // The channel carries nothing: it closes when this process dies, however it dies.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, [MARK]: '1' },
  })
  // A terminal signals the whole group, so the child has ctrl-c already; a signal sent to this process alone must be passed on.
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGUSR1', 'SIGUSR2']) {
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  }
  child.on('error', error => {
    process.stderr.write(`error: cannot start ${node}: ${error.message}\n`)
    process.exitCode = 3
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    for (const s of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGUSR1', 'SIGUSR2']) process.removeAllListeners(s)
    process.kill(process.pid, signal)
  })
}

/** Killed with -9, the first process can pass nothing on; the one it started must not go on without it. */
function dieWithParent() {
  if (process.env[MARK] === undefined || process.channel === undefined) return
  delete process.env[MARK]
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
  process.channel.unref()
}
