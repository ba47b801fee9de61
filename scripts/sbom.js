/**
 * `npm run sbom`: CycloneDX on stdout, of the package and its production dependencies on every platform. `npm sbom --omit dev` in the
 * checkout leaves out what development packages use as well (pg, yaml, ajv), so npm gets a folder without development packages.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { reachable } from './packages.js'

const read = name => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'))
const manifest = read('package.json')
const lock = read('package-lock.json')

const kept = reachable(lock.packages, Object.keys(manifest.dependencies))
for (const path of Object.keys(lock.packages)) if (path !== '' && !kept.has(path)) delete lock.packages[path]
for (const root of [manifest, lock.packages['']])
  for (const field of ['devDependencies', 'peerDependencies', 'peerDependenciesMeta']) delete root[field]

const temp = mkdtempSync(join(tmpdir(), 'sbom-'))
try {
  // npm calls the root by the name of its folder.
  const folder = join(temp, manifest.name)
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(lock))
  const args = ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx', '--sbom-type', 'application']
  const { status } = spawnSync('npm', args, { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'], shell: process.platform === 'win32' })
  process.exitCode = status ?? 1
} finally {
  rmSync(temp, { recursive: true, force: true })
}
