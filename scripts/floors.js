/**
 * The floors of src/: a file imports from its own floor and from floors below it, never from above, never from another connector.
 * Built-in plugins import only what a plugin of a user can: contract, kit, expressions, config. `npm run lint` and `npm test` run it.
 * A script, because linters see neither dynamic imports nor the folder that a relative path leads to.
 *
 * Usage: npx node scripts/floors.js [ROOT]
 */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, resolve } from 'node:path'

/** Bottom up; folders of one floor do not import each other, unless named in ACROSS. */
const FLOORS = [
  ['contract'],
  ['kit'],
  ['expressions'],
  ['config'],
  ['runtime', 'transforms', 'connectors'],
  ['dead-letters', 'operations', 'explain'],
  ['built-in.ts'],
  ['testing'],
  ['engine'],
  ['cli'],
  ['index.ts', 'kit.ts'],
  ['executable.ts'],
]
/** What a floor imports although it is not below. */
const ACROSS = [
  // The entry names the channels that programs hand to memory sources and sinks.
  ['index.ts', 'connectors'],
  ['engine', 'connectors'],
]
/** The types and validators made from the schemas are on the floor of config; the map of the built-in plugins is for the composition root only. */
const MAP = 'generated/plugins.ts'
const PLUGINS = new Set(['transforms', 'connectors'])

const rankOf = folder => FLOORS.findIndex(floor => floor.includes(folder))

/** @returns why `from` must not import `to` (both relative to src/), or undefined. */
export function forbidden(from, to) {
  const [a, inA] = from.split('/')
  const [b, inB] = to.split('/')
  if (a === 'generated') return undefined
  if (to === MAP) return a === 'built-in.ts' || a === 'cli' ? undefined : 'only src/built-in.ts imports the map of the built-in plugins'
  if (b === 'generated') return undefined
  if (rankOf(a) < 0 || rankOf(b) < 0) return `no floor is known for ${rankOf(a) < 0 ? a : b}: add it to scripts/floors.js`
  if (a === b) return a === 'connectors' && inA !== inB ? `connectors do not import each other; move what they share to kit/` : undefined
  if (ACROSS.some(([x, y]) => x === a && y === b)) return undefined
  if (rankOf(b) >= rankOf(a)) return `${b}/ is not below ${a}/`
  if (PLUGINS.has(a) && rankOf(b) > rankOf('config')) return `a plugin imports only contract, kit, expressions and config`
  return undefined
}

/** @returns `file:line: why` for every import against the floors. */
export function violations(root) {
  const src = join(root, 'src')
  const found = []
  for (const file of globSync('**/*.ts', { cwd: src }).sort()) {
    const text = readFileSync(join(src, file), 'utf8')
    for (const match of text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.{1,2}\/[^']+)'/g)) {
      const to = normalize(join(dirname(file), match[1]))
      if (to.startsWith('..')) continue
      const why = forbidden(file, to)
      if (why) found.push(`src/${file}:${text.slice(0, match.index).split('\n').length}: imports ${to}: ${why}`)
    }
  }
  return found
}

if (process.argv[1] === import.meta.filename) {
  const found = violations(resolve(process.argv[2] ?? join(import.meta.dirname, '..')))
  for (const line of found) console.log(line)
  console.log(found.length === 0 ? 'floors: no import goes up' : `floors: ${found.length} import(s) against the floors`)
  process.exitCode = found.length === 0 ? 0 : 1
}
