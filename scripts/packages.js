/** What package-lock.json says of the packages that a user gets, and their licenses. Plain JavaScript for any Node from 20 on. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Licenses that ask for no more than their text and the names of the authors. Anything else needs a decision, then a line here. */
const PERMISSIVE = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'PostgreSQL',
  'PSF-2.0',
  'Python-2.0',
  'Unlicense',
  'Zlib',
])

/** Packages, by name and what they state, that were looked at one by one. They hold for optional peers only: `npm install pipeline-runner` brings none. */
const ACCEPTED = new Map([
  ['elkjs: EPL-2.0', 'of beautiful-mermaid; used unchanged, and the EPL asks for the source of changes only'],
  ['url-template: BSD', 'of @googleapis/sheets; its LICENSE file is BSD-3-Clause'],
])

/**
 * Paths in the lock of `names` and all they depend on, for every platform. The lock's own `dev` flags do not say it: an optional
 * peer that is a development dependency as well is `dev`.
 * @param {Record<string, any>} packages `packages` of package-lock.json
 * @param {readonly string[]} names
 * @returns {Set<string>}
 */
export function reachable(packages, names) {
  const found = new Set()
  const visit = (from, name, required) => {
    const path = resolve(packages, from, name)
    if (path === undefined) {
      if (required) throw new Error(`package-lock.json has no ${name}, which ${from || 'the project'} needs`)
      return
    }
    if (found.has(path)) return
    found.add(path)
    const entry = packages[path]
    for (const dependency of Object.keys(entry.dependencies ?? {})) visit(path, dependency, true)
    for (const dependency of Object.keys(entry.optionalDependencies ?? {})) visit(path, dependency, false)
    for (const dependency of Object.keys(entry.peerDependencies ?? {})) visit(path, dependency, false)
  }
  for (const name of names) visit('', name, true)
  return found
}

/** As Node looks it up: beside the package, then in each folder above. */
function resolve(packages, from, name) {
  for (let base = from; ; base = base.slice(0, Math.max(0, base.lastIndexOf('/node_modules/')))) {
    const path = `${base === '' ? '' : `${base}/`}node_modules/${name}`
    if (packages[path] !== undefined) return path
    if (base === '') return undefined
    if (!base.includes('/node_modules/')) base = ''
  }
}

/**
 * @param {Record<string, any>} packages
 * @param {{ production: Set<string>, optional: Set<string> }} paths what is always installed, and what users may install for it
 * @returns {{ byLicense: Map<string, string[]>, rejected: string[] }}
 */
export function licenses(packages, { production, optional }) {
  const byLicense = new Map()
  const rejected = []
  for (const path of [...new Set([...production, ...optional])].toSorted()) {
    const { license, version } = packages[path]
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
    const key = typeof license === 'string' ? license : 'none'
    if (!byLicense.has(key)) byLicense.set(key, [])
    byLicense.get(key).push(`${name}@${version}`)
    const accepted = !production.has(path) && ACCEPTED.has(`${name}: ${key}`)
    if (!permissive(key) && !accepted) rejected.push(`${name}@${version}: ${key}`)
  }
  return { byLicense, rejected }
}

/**
 * The license texts of installed packages, the same on every platform: an add-on for one platform is named, its text is that of its package.
 * @param {string} root
 * @param {Record<string, any>} packages
 * @param {Set<string>} paths
 */
export function notices(root, packages, paths) {
  const texts = [...paths].toSorted().map(path => {
    const { version, license, os } = packages[path]
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
    return `${name} ${version} (${license})\n\n${os === undefined ? licenseText(join(root, path)) : 'An add-on for one platform.'}`
  })
  return `${texts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`
}

/** @param {string} folder of an installed package */
export function licenseText(folder) {
  const names = readdirSync(folder).filter(name => /^(licen[sc]e|copying|notice)/i.test(name))
  return names.length === 0
    ? 'The package has no license file.'
    : names.map(name => readFileSync(join(folder, name), 'utf8').trim()).join('\n\n')
}

/** An SPDX expression without brackets inside; any other form counts as not permissive, which asks a person. */
function permissive(expression) {
  const flat = expression.replace(/^\((.*)\)$/, '$1')
  return flat.split(' OR ').some(choice => choice.split(' AND ').every(license => PERMISSIVE.has(license)))
}
