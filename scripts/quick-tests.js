import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/** Modules of test/support that reach a server, or start one. */
const SERVERS = /^test\/support\/(servers\/|(brokers|kafka|kcat|postgres|redis|sheets|certificates|nodes)\.ts$)/
/** It starts processes, and is imported for its temporary folders, too. */
const RUNNER = 'test/support/runner.ts'
const PROCESS = /'node:(child_process|worker_threads)'|\b(runRunner|startRunner)\b|'playwright-core'/

/** Thousands of cases each: corpora, properties, public suites. Together they take ten times as long as all others. */
const MANY =
  /^test\/(suites\/|config\/(corpus|hostile|schemas)\.|transforms\/bars\.property\.|runtime\/(delivery|counts)\.|simulation\/|expressions\/(differential|conformance)\.|testing\/(engine|pipelines)\.)/

/**
 * The test files that start no server and no process, themselves or through what they import, and run no thousands of cases.
 * @param {string} root
 * @returns {string[]} paths from the root
 */
export function quickTests(root) {
  const known = new Map()
  const slow = file => {
    if (SERVERS.test(file)) return true
    if (file === RUNNER) return false
    if (known.has(file)) return known.get(file)
    known.set(file, false) // an import cycle adds nothing
    const text = readFileSync(join(root, file), 'utf8')
    const imports = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, path]) =>
      relative(root, join(root, dirname(file), path)),
    )
    const result =
      PROCESS.test(text) || imports.some(path => /^(test|examples)\/.*\.ts$/.test(path) && existsSync(join(root, path)) && slow(path))
    known.set(file, result)
    return result
  }
  return testFiles(root).filter(file => !MANY.test(file) && !slow(file))
}

const testFiles = root =>
  ['test', 'examples'].flatMap(folder =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter(path => path.endsWith('.test.ts'))
      .map(path => `${folder}/${path.replaceAll('\\', '/')}`),
  )
