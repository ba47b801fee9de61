#!/usr/bin/env node
// Plain JavaScript that any Node from 18 on can read: the runner itself needs Node 24 (it runs TypeScript as it is, and
// node:sqlite). On an older one it starts again under the Node that npm has installed beside it.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module, { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const MARK = 'RUNNER_STARTED_AGAIN'
const [major] = process.versions.node.split('.').map(Number)

if (major >= 24) {
  dieWithParent()
  // Compiled code and stripped types are kept between starts; half of the start-up time.
  module.enableCompileCache?.()
  // A published package has JavaScript in dist/: Node does not strip types below node_modules.
  const source = join(here, '../src/cli/main.ts')
  await import(existsSync(source) && !here.includes('node_modules') ? '../src/cli/main.ts' : '../dist/src/cli/main.js')
} else startAgain()

function startAgain() {
  const node = findNode()
  if (!node) {
    process.stderr.write(
      `runner needs Node 24 or later, this is ${process.version}; install it, or run \`npm install\` in the project, which brings one\n`,
    )
    process.exitCode = 3
    return
  }
  const child = spawn(node, [...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
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
    process.stderr.write(`${node}: ${error.message}\n`)
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

/** The binary of the npm package `node`. */
function findNode() {
  try {
    const path = join(
      dirname(createRequire(import.meta.url).resolve('node/package.json')),
      'bin',
      process.platform === 'win32' ? 'node.exe' : 'node',
    )
    return existsSync(path) ? path : undefined
  } catch {
    return undefined
  }
}
