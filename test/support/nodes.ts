/** Binaries of other Node versions than the project's: the npm package of this platform, kept under `.cache/`. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** 20: too old for the package. 22: the oldest that `engines` admits. 24: what the project itself runs on. */
const VERSIONS = { 20: '20.20.2', 22: '22.15.0', 24: process.versions.node } as const
export type Major = keyof typeof VERSIONS

/** Path of the binary. @throws {Error} when there is none and npm cannot fetch it. */
export function nodeOf(major: Major): string {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const found = (process.env.PATH ?? '')
    .split(delimiter)
    .map(dir => join(dir, 'node'))
    .find(path => existsSync(path) && execFileSync(path, ['--version']).toString().startsWith(`v${major}.`))
  if (found !== undefined) return found
  const cache = fileURLToPath(new URL('../../.cache', import.meta.url))
  const kept = join(cache, `node-${VERSIONS[major]}`)
  if (!existsSync(kept)) fetchTo(kept, cache, VERSIONS[major])
  return kept
}

/** The package `node` does no more than choose one of these by an install script. */
function fetchTo(kept: string, cache: string, version: string): void {
  const name = `node-${process.platform}-${process.arch}`
  mkdirSync(cache, { recursive: true })
  const dir = mkdtempSync(join(cache, 'fetch-'))
  try {
    const options = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
    execFileSync('npm', ['install', '--prefix', dir, ...options, `${name}@${version}`], { stdio: ['ignore', 'inherit', 'inherit'] })
    // A rename is all or nothing: an interrupted fetch must not look like a complete one.
    renameSync(join(dir, 'node_modules', name, 'bin', 'node'), kept)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
