/** A Node that cannot run the project's TypeScript, to start the command with: one on PATH, or the npm package of this platform, kept under `.cache/`. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const VERSION = '20.20.2'

/** Path of the binary. @throws {Error} when there is none and npm cannot fetch it. */
export function oldNode(): string {
  const found = (process.env.PATH ?? '')
    .split(delimiter)
    .map(dir => join(dir, 'node'))
    .find(isOld)
  if (found !== undefined) return found
  const cache = fileURLToPath(new URL('../../.cache', import.meta.url))
  const kept = join(cache, `node-${VERSION}`)
  if (!existsSync(kept)) fetchTo(kept, cache)
  return kept
}

function isOld(path: string): boolean {
  return existsSync(path) && Number(/^v(\d+)/.exec(execFileSync(path, ['--version']).toString())?.[1]) < 24
}

/** The package `node` does no more than choose one of these by an install script. */
function fetchTo(kept: string, cache: string): void {
  const name = `node-${process.platform}-${process.arch}`
  mkdirSync(cache, { recursive: true })
  const dir = mkdtempSync(join(cache, 'fetch-'))
  try {
    const options = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
    execFileSync('npm', ['install', '--prefix', dir, ...options, `${name}@${VERSION}`], { stdio: ['ignore', 'inherit', 'inherit'] })
    // A rename is all or nothing: an interrupted fetch must not look like a complete one.
    renameSync(join(dir, 'node_modules', name, 'bin', 'node'), kept)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
