/**
 * Entry of the single executable, which `npm run build:executable` makes: the command line, with what a process without module files
 * must bring along. esbuild bundles this file; the package does not have it.
 */
import { constants, Script } from 'node:vm'
import { embed } from './config/plugin-modules.ts'
import * as index from './index.ts'
import * as kit from './kit.ts'
import * as testing from './testing/index.ts'
import { main } from './cli/main.ts'

// Node calls the next line's constant experimental. The build and the tests are done with the very Node that is in the executable.
const emit = process.emitWarning
process.emitWarning = (warning: string | Error, ...rest: unknown[]) => {
  if (!String(warning).startsWith('vm.USE_MAIN_CONTEXT_DEFAULT_LOADER is')) Reflect.apply(emit, process, [warning, ...rest])
}

/** The main script of an executable cannot import files. Node's own loader can, and a module it has loaded can resolve as well. */
const load = new Script('url => import(url)', {
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
}).runInThisContext() as (url: string) => Promise<{ default: unknown }>
const resolver = 'data:text/javascript,export default specifier => import.meta.resolve(specifier)'

embed({
  entries: { 'pipeline-runner': index, 'pipeline-runner/kit': kit, 'pipeline-runner/testing': testing },
  load,
  resolve: async specifier => ((await load(resolver)).default as (specifier: string) => string)(specifier),
})

void main(process.argv.slice(2))
