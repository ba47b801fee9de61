/**
 * Loads the modules of `plugins:`: files of the user and npm packages, in any folder. Module hooks of Node, registered with the
 * first plugin that is loaded, guarantee two things:
 *
 * - `pipeline-runner` and its entries resolve to the running package, with or without a node_modules folder nearby, so that there is
 *   one copy of the classes that `instanceof` compares (errors, Message).
 * - A file with ESM syntax is ESM, also below a package.json with `"type": "commonjs"`, and types are stripped, also if Node
 *   does not strip them itself. Below node_modules nothing is stripped: a package publishes JavaScript.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import module from 'node:module'
import { basename, dirname, extname, isAbsolute, join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Script } from 'node:vm'
import type { Plugin } from '../contract/plugin.ts'
import { locate, shortPath } from '../kit/throw-site.ts'

const HERE = import.meta.url
/** `src/`, or `dist/`: our own modules, which need no hook. */
const OWN = new URL('../', HERE).href

/** Modules of this package that a plugin may import: the files in `exports` of package.json. */
export const ENTRIES: Readonly<Record<string, string>> = {
  'pipeline-runner': '../index',
  'pipeline-runner/kit': '../kit',
  'pipeline-runner/testing': '../testing/index',
}

const ownEntry = (specifier: string): string | undefined => {
  if (!Object.hasOwn(ENTRIES, specifier)) return undefined
  return embedded ? `${EMBEDDED}${specifier}` : new URL(`${ENTRIES[specifier]}${extname(fileURLToPath(HERE))}`, HERE).href
}

/** Replaces module files in a single executable. */
export interface Embedded {
  /** By name, as in ENTRIES. */
  readonly entries: Readonly<Record<string, object>>
  load(url: string): Promise<{ default?: unknown }>
  /** As `import.meta.resolve`. */
  resolve(specifier: string): Promise<string>
}

/** Scheme of the entries' modules. */
const EMBEDDED = 'runner-entry:'
const SHARED = Symbol.for('pipeline-runner.entries')
let embedded: Embedded | undefined

export function embed(given: Embedded): void {
  embedded = given
  Object.assign(globalThis, { [SHARED]: given.entries })
}

/** A module that exports the classes of the running program, so that there is one copy of them. */
function entryModule(name: string): string {
  const names = Object.keys(embedded!.entries[name]!)
  return `export const { ${names.join(', ')} } = globalThis[Symbol.for('${SHARED.description}')]['${name}']`
}

/** `from` in a specifier of this scheme is the importing module: `import.meta.resolve` has no parameter for it. */
const FROM = 'runner-plugin:'

let registered = false
/** The module of each plugin. */
const modules = new WeakMap<Plugin, string>()

/** Path of its file in `plugins:`; undefined: built in, or passed in by the program. */
export const moduleOf = (plugin: Plugin): string | undefined => modules.get(plugin)

let exiting = false

/** Call it before `process.exit`: while a plugin loads, the exit would be attributed to the plugin. */
export function exitOnPurpose(): void {
  exiting = true
}

/** Whether code of a plugin was loaded into this process. */
export const pluginsLoaded = (): boolean => registered

/** Files of the user that were loaded, in order: the file with a syntax error is the last one that does not parse. */
const seen: string[] = []

function registerHooks(): void {
  if (registered) return
  registered = true
  module.registerHooks?.({
    resolve(specifier, context, next) {
      const own = context.parentURL?.startsWith(OWN) ? undefined : ownEntry(specifier)
      if (own !== undefined) return { url: own, shortCircuit: true }
      if (!specifier.startsWith(FROM)) return next(specifier, context)
      const { pathname, searchParams } = new URL(specifier)
      return next(decodeURIComponent(pathname), { ...context, parentURL: searchParams.get('from')! })
    },
    load(url, context, next) {
      if (url.startsWith(EMBEDDED)) return { format: 'module', source: entryModule(url.slice(EMBEDDED.length)), shortCircuit: true }
      if (!url.startsWith('file:') || url.startsWith(OWN) || url.includes('/node_modules/')) return next(url, context)
      const path = fileURLToPath(url)
      const typescript = /\.[mc]?ts$/.test(path)
      if (typescript || /\.[mc]?js$/.test(path)) seen.push(path)
      const unstripped = typescript && process.features.typescript === false
      const commonjs = /[^mc][jt]s$/.test(path) && context.format?.startsWith('commonjs') === true
      if (!unstripped && !commonjs) return next(url, context)
      const text = readFileSync(path, 'utf8')
      const source = typescript ? strip(text, path) : text
      const format = path.endsWith('.cts') || (!path.endsWith('.mts') && isCommonJs(source)) ? 'commonjs' : 'module'
      return { format, source, shortCircuit: true }
    },
  })
}

/** Types become spaces, so positions in the file do not change. */
function strip(text: string, path: string): string {
  const emit = process.emitWarning
  // Plugin authors do not need the warning that the function is experimental.
  process.emitWarning = () => {}
  try {
    return module.stripTypeScriptTypes(text, { mode: 'strip', sourceUrl: path })
  } finally {
    process.emitWarning = emit
  }
}

/** Module syntax (import, export, top-level await) does not compile as the body of a function. */
function isCommonJs(source: string): boolean {
  try {
    new Script(`(function (exports, require, module, __filename, __dirname) {${source.replace(/^#!.*/, '')}\n})`)
    return true
  } catch {
    return false
  }
}

/**
 * Loads the plugins of one item of `plugins:`.
 * @param item a file (`./discount.ts`) or a package (`@acme/runner-discount`)
 * @param base folder of the pipeline file: files are relative to it, packages are resolved from it, then from the runner
 * @throws {Error} with one line: the problem and the fix. The message continues after `item`.
 */
export async function importPlugins(item: string, base: string): Promise<Plugin[]> {
  registerHooks()
  const url = await find(item, resolve(base))
  seen.length = 0
  let exported: unknown
  try {
    exported = (await finished(embedded ? embedded.load(url) : import(url), item)).default
  } catch (error) {
    throw new Error(`does not load: ${whyNot(error, fileURLToPath(url))}`, { cause: error })
  }
  // A package compiled to CommonJS has its default export one level deeper.
  if (isObject(exported) && exported.__esModule === true) exported = exported.default
  if (exported === undefined)
    throw new Error('has no default export: write `export default defineTransform({…})`, or export a list of plugins')
  const plugins = (Array.isArray(exported) ? exported : [exported]) as Plugin[]
  if (plugins.length === 0) throw new Error('has an empty list as its default export: put at least one plugin into it')
  for (const plugin of plugins) if (isObject(plugin)) modules.set(plugin, fileURLToPath(url))
  return plugins
}

/**
 * Reports two errors of a plugin that would end the command with exit code 0: a call of `process.exit` while it loads, and a top-level
 * await that never settles.
 */
async function finished<T>(loading: Promise<T>, item: string): Promise<T> {
  const { promise: stuck, reject } = Promise.withResolvers<never>()
  const idle = (): void => {
    // Keeps the process alive until the rejection is handled.
    setImmediate(() => {})
    reject(new Error('a top-level await never settles'))
  }
  const ended = (code: number): void => {
    // An exit by a signal: 128 plus its number.
    if (exiting || code > 128) return
    process.exitCode = 2
    process.stderr.write(`error: ${item} calls process.exit while it loads: throw an error instead\n`)
  }
  process.once('beforeExit', idle)
  process.once('exit', ended)
  try {
    return await Promise.race([loading, stuck])
  } finally {
    process.off('beforeExit', idle)
    process.off('exit', ended)
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
const isCode = (item: string): boolean => /\.[mc]?[jt]s$/.test(item)

/** @returns the URL of the module. */
async function find(item: string, base: string): Promise<string> {
  const path = resolve(base, item)
  const info = statSync(path, { throwIfNoEntry: false })
  if (isCode(item) && info?.isFile()) {
    if (/\.[mc]?ts$/.test(path) && path.includes('/node_modules/')) throw new Error(unpublished(path))
    return pathToFileURL(path).href
  }
  const isPath = isAbsolute(item) || /^\.{1,2}(\/|$)/.test(item)
  if (isPath || !/^(@[\w~.-]+\/)?[\w~.-]+(\/.*)?$/.test(item) || (isCode(item) && !item.includes('/'))) {
    if (info?.isDirectory()) throw new Error('is a folder: write the path of the .ts or .js file that exports the plugin')
    if (info) throw new Error('is not a .ts or .js file: write the path of the file that exports the plugin')
    throw new Error(`does not exist${near(path)}`)
  }
  let first: unknown
  for (const from of [pathToFileURL(join(base, 'pipeline.yaml')).href, HERE]) {
    try {
      const specifier = `${FROM}${encodeURIComponent(item)}?from=${encodeURIComponent(from)}`
      const url = embedded ? await embedded.resolve(specifier) : import.meta.resolve(specifier)
      if (url.startsWith('node:')) throw new Error(`is a module of Node.js, not a plugin${besides(path, item)}`)
      if (/\.[mc]?ts$/.test(url) && url.includes('/node_modules/')) throw new Error(unpublished(fileURLToPath(url)))
      return url
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // The package exists but does not load: do not try the next folder.
      if (code !== 'ERR_MODULE_NOT_FOUND' || /'[^']*node_modules[^']*' imported/.test((error as Error).message)) throw readable(error, base)
      first ??= error
    }
  }
  if (info?.isFile()) throw new Error('is not a .ts or .js file: write the path of the file that exports the plugin')
  if (isCode(item)) throw new Error(`does not exist${near(path)}`)
  throw new Error(`is not installed: run \`npm install ${packageOf(item)}\` in ${base}${besides(path, item)}`, { cause: first })
}

/** Suggests a file with the name of a missing package. */
function besides(path: string, item: string): string {
  const file = ['.ts', '.js'].find(ext => existsSync(path + ext))
  return file ? `; for the file in the folder of the pipeline, write ./${item}${file}` : ''
}

const packageOf = (specifier: string): string => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
const unpublished = (path: string): string =>
  `is TypeScript in node_modules (${path}), which Node does not run: the package must publish JavaScript`

const PACKAGE_ERRORS: Readonly<Record<string, string>> = {
  ERR_PACKAGE_PATH_NOT_EXPORTED:
    'is installed, but `exports` of its package.json does not contain it: write an entry that the package exports',
  ERR_INVALID_PACKAGE_CONFIG: 'is installed, but its package.json is not valid: install it again',
  ERR_INVALID_PACKAGE_TARGET: 'is installed, but `exports` of its package.json leads out of the package: report this to its authors',
  ERR_UNSUPPORTED_DIR_IMPORT: 'is a folder of a package: write the path of a file in it',
  ERR_INVALID_MODULE_SPECIFIER: 'is not a name of a package or a path of a file',
}

function readable(error: unknown, base: string): Error {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === undefined) return error as Error
  const own = PACKAGE_ERRORS[code]
  return new Error(
    own === undefined ? `does not load: ${message.split('\n')[0].replaceAll(`${pathToFileURL(base).href}/`, '')}` : `${own} (${code})`,
    { cause: error },
  )
}

/** Suggests the same file with the other extension. */
function near(path: string): string {
  const other = path.replace(/([jt])s$/, (_, c: string) => (c === 'j' ? 'ts' : 'js'))
  return other !== path && existsSync(other) ? `; did you mean ${basename(other)}?` : ''
}

/** The error of a module that does not load, with its position, in one line. */
function whyNot(thrown: unknown, entry: string): string {
  if (!(thrown instanceof Error)) return `it threw ${String(thrown)}`
  const { code } = thrown as NodeJS.ErrnoException
  const text = thrown.message.split('\n')[0]
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') return missing(text)
  if (code === 'ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING')
    return `it imports a package that is TypeScript, which Node does not run in node_modules (the package must publish JavaScript): ${text}`
  if (thrown instanceof SyntaxError) return invalid(thrown, text, code, entry)
  return `${thrown.name}: ${text} (${locate(thrown) ?? shortPath(entry)})`
}

/** A file that does not parse, or imports a name that a module does not export: its position and its line, in the words of the runner. */
function invalid(error: SyntaxError, text: string, code: string | undefined, entry: string): string {
  const site = syntaxSite(error)
  const at =
    site === undefined ? shortPath(entry) : `${shortPath(site.path)}:${site.line}${site.column === undefined ? '' : `:${site.column}`}`
  const [, from, name] = /module '([^']+)' does not provide an export named '([^']+)'/.exec(text) ?? []
  if (name !== undefined) return `it imports ${name} from '${from}', which has no export of that name: correct the name (${at})`
  const source = site && readLine(site)
  const shown = source === undefined ? '' : `: ${JSON.stringify(source)}`
  if (code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX')
    return `it uses TypeScript that Node.js cannot run, because types are only removed: replace enum, namespace and parameter properties (${at}${shown})`
  return `the code is not valid from this position on: correct it (${at}${shown})`
}

interface Site {
  readonly path: string
  readonly line: number
  readonly column?: number
}

/** The line from the position on, or as a whole if the position is unknown; at most 80 characters. */
function readLine({ path, line, column = 1 }: Site): string | undefined {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      [line - 1]?.slice(column - 1)
      .trim()
      .slice(0, 80)
  } catch {
    return undefined
  }
}

function missing(text: string): string {
  const [, name, from] = /^Cannot find (?:package|module) '([^']+)'(?: imported from (.+))?/.exec(text) ?? []
  if (name === undefined) return text
  const folder = from === undefined ? 'its folder' : dirname(from)
  if (packageOf(name) === 'pipeline-runner')
    return `it imports an entry of pipeline-runner that does not exist; the entries are ${Object.keys(ENTRIES).join(', ')}`
  const local = name.startsWith('.') || isAbsolute(name)
  if (!local) return `it imports ${name}, which is not installed: run \`npm install ${packageOf(name)}\` in ${folder}`
  const file = ['.ts', '.js'].find(ext => existsSync(name + ext))
  const hint = file
    ? `; imports need the full file name: write ./${relative(dirname(from ?? name), name)}${file}`.replace('./../', '../')
    : ''
  return `it imports ${from === undefined ? name : `./${relative(folder, name)}`.replace('./../', '../')}, which does not exist${hint}${from ? ` (${shortPath(from)})` : ''}`
}

/** Node prints the position of a syntax error before the stack, or not at all: then each file is parsed again. */
function syntaxSite(error: SyntaxError): Site | undefined {
  const [, path, line] = /^(?:file:\/\/)?(\/[^\n]+):(\d+)\n/.exec(error.stack ?? '') ?? []
  if (path !== undefined) {
    const caret = /\n( *)\^+\n/.exec(error.stack!)?.[1].length
    return { path: decodeURI(path), line: Number(line), ...(caret === undefined ? {} : { column: caret + 1 }) }
  }
  for (const file of seen) {
    try {
      strip(readFileSync(file, 'utf8'), file)
    } catch (again) {
      if (again instanceof SyntaxError && again.stack?.startsWith('/')) return syntaxSite(again)
    }
  }
  return undefined
}
