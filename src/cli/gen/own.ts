/** `runner gen ./discount.ts`: `discount.config.ts` beside it, with what `create` gets. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { loadPluginList } from '../../config/load.ts'
import type { Schema } from '../../config/schema.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { reportProblems } from '../load.ts'
import { outcomeLine, print, printError, usageError } from '../output.ts'
import { configTypes } from './types.ts'

/** @returns the exit code. */
export async function genOwn(files: readonly string[], check: boolean): Promise<number> {
  let stale = 0
  for (const file of files) {
    if (!/\.[mc]?[jt]s$/.test(file)) {
      return usageError(`${file} is not a .ts or .js file: name the file of the plugin`)
    }
    const { registry, problems } = await loadPluginList([file], 'runner gen')
    if (problems.length > 0) return reportProblems(problems)
    const target = `${file.replace(/\.[mc]?[jt]s$/, '')}.config.ts`
    const described = registry.loaded.map(p => ({ kind: p.kind, type: p.type, schema: p.schema as Schema }))
    const text = await configTypes(described, `\`runner gen ${basename(file)}\` from its schema`)
    if (existsSync(target) && readFileSync(target, 'utf8') === text) continue
    stale++
    if (check) printError(`${target} is out of date; run: runner gen ${file}`)
    else {
      writeFileSync(target, text)
      print(outcomeLine('ok', `wrote ${target}`))
    }
  }
  return check && stale > 0 ? EXIT.runtime : EXIT.ok
}
