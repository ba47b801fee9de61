/**
 * Mutation testing of one module: changes one operator or constant at a time, and runs tests that should fail. What survives is printed.
 *
 * Usage: npx node scripts/mutate.js src/kit/event-clock.ts [--max 40] TEST…   (tests: paths for vitest; default: the module's own)
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

/** A run that takes longer is a mutant that hangs, and thereby found. ms */
const LIMIT = 90_000
const SWAPS = [
  [/ === /g, ' !== '],
  [/ !== /g, ' === '],
  [/ < /g, ' <= '],
  [/ <= /g, ' < '],
  [/ > /g, ' >= '],
  [/ >= /g, ' > '],
  [/ \+ /g, ' - '],
  [/ - /g, ' + '],
  [/ && /g, ' || '],
  [/ \|\| /g, ' && '],
  [/ \?\? /g, ' && '],
  [/ \+= /g, ' -= '],
  [/\btrue\b/g, 'false'],
  [/\bfalse\b/g, 'true'],
  [/(?<=\bif \()(?=\S)/g, '!!0 && '],
  [/Math\.floor\([^()]*\)/g, '0'],
  [/Math\.max\(/g, 'Math.min('],
  [/Math\.min\(/g, 'Math.max('],
  [/(?<![\w.'])\d+(?![\w.'])/g, digits => String(Number(digits) + 1)],
  [/^\s+this\.[\w.]+\([^()]*\)$/gm, ''],
  [/^\s+[\w.]+\.(?:delete|add|push|set)\([^()]*\)$/gm, ''],
]

/** @returns every mutant of the text, with its line; comments, imports and types stay. */
export function mutants(text) {
  const found = []
  for (const [pattern, replacement] of SWAPS) {
    for (const match of text.matchAll(pattern)) {
      const start = text.lastIndexOf('\n', match.index + (match[0].startsWith('\n') ? 1 : 0)) + 1
      const end = text.indexOf('\n', start)
      const line = text.slice(start, end < 0 ? undefined : end)
      if (/^\s*(?:\*|\/\*|\/\/|import |export \*|readonly |type |export type)/.test(line)) continue
      if (/['`/].*$/.test(line.slice(0, match.index - start)) && !/['`].*['`]/.test(line.slice(0, match.index - start))) continue
      const changed = typeof replacement === 'function' ? replacement(match[0]) : replacement
      found.push({
        line: text.slice(0, match.index).split('\n').length,
        was: line.trim(),
        change: `${match[0].trim() || 'if ('} => ${changed.trim() || 'nothing'}`,
        text: text.slice(0, match.index) + changed + text.slice(match.index + match[0].length),
      })
    }
  }
  return found
}

/** Runs the tests, as a process group: a worker in an endless loop is ended with it. */
function fails(tests) {
  const child = spawn('vitest', ['run', '--bail', '1', '--reporter', 'dot', ...tests], { detached: true, stdio: 'ignore' })
  const timer = setTimeout(() => child.pid && process.kill(-child.pid, 'SIGKILL'), LIMIT)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', code => {
      clearTimeout(timer)
      resolve(code !== 0)
    })
  })
}

async function main() {
  const args = process.argv.slice(2)
  const at = args.indexOf('--max')
  const max = at < 0 ? Infinity : Number(args.splice(at, 2)[1])
  const [file, ...given] = args
  const own = file.replace(/^src/, 'test').replace(/\.ts$/, '.test.ts')
  const tests = given.length > 0 ? given : existsSync(own) ? [own] : []
  if (tests.length === 0) throw new Error(`${own} does not exist: name the tests`)
  const text = readFileSync(file, 'utf8')
  if (await fails(tests)) throw new Error('the tests fail without a change')
  const all = mutants(text)
  // Evenly over the file, the same ones each time.
  const chosen = all.toSorted((a, b) => a.line - b.line).filter((_, i) => i % Math.max(1, Math.ceil(all.length / max)) === 0)
  let survived = 0
  const restore = () => writeFileSync(file, text)
  process.on('SIGINT', () => {
    restore()
    process.exit(1)
  })
  try {
    for (const mutant of chosen) {
      writeFileSync(file, mutant.text)
      if (await fails(tests)) continue
      survived++
      console.log(`${file}:${mutant.line}: survived: ${mutant.change}\n    ${mutant.was}`)
    }
  } finally {
    restore()
  }
  console.log(
    `${file}: ${chosen.length - survived} of ${chosen.length} mutants found (${Math.round((100 * (chosen.length - survived)) / chosen.length)} %)`,
  )
}

if (process.argv[1] === import.meta.filename) await main()
