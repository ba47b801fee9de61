/**
 * `npm run licenses`: the licenses of all packages that the package installs or that a user may install for it (the optional peers,
 * which are in the image). Exit code 1 for one that is not known to be permissive. `--notices`: the texts, for a release.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { licenses, notices, reachable } from './packages.js'

const [option] = process.argv.slice(2)
const texts = option === '--notices'
const { packages } = JSON.parse(readFileSync((texts ? undefined : option) ?? new URL('../package-lock.json', import.meta.url), 'utf8'))
const { dependencies, peerDependencies } = packages['']
const production = reachable(packages, Object.keys(dependencies))
const { byLicense, rejected } = licenses(packages, {
  production,
  optional: reachable(packages, Object.keys(peerDependencies ?? {})),
})
if (texts) process.stdout.write(notices(fileURLToPath(new URL('..', import.meta.url)), packages, production))
else
  for (const [license, names] of [...byLicense].toSorted((a, b) => b[1].length - a[1].length))
    console.log(`${license} (${names.length}): ${names.join(', ')}`)
if (rejected.length > 0) {
  console.error(`\nNot known to be permissive:\n${rejected.map(line => `  ${line}`).join('\n')}`)
  console.error('Replace the package, or add its license to PERMISSIVE in scripts/packages.js when its terms are acceptable.')
  process.exitCode = 1
}
