/**
 * `npm run build`: `dist/` from `src/`, as the package holds it. npm runs it before `npm pack` and `npm publish`.
 * Plain JavaScript for any Node from 20 on, like the other scripts.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const typescript = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

/** Libraries that every command loads, with the format they are written in. */
const VENDORED = { yaml: 'cjs', commander: 'mjs' }

/** What the `exports` of the package lead to, the command, and what the validators import. */
const ENTRIES = ['index', 'kit', 'testing/index', 'cli/main', 'config/formats']

await build()

async function build() {
  rmSync(dist, { recursive: true, force: true })
  compile()
  // Once more without comments, which are for the declarations and the repository: they are a tenth of the package.
  compile('--removeComments', '--declaration', 'false', '--noCheck')
  keepPublicTypes()
  await bundle()
}

function compile(...options) {
  const { status } = spawnSync(process.execPath, [typescript, '-p', join(root, 'tsconfig.build.json'), ...options], { stdio: 'inherit' })
  if (status !== 0) process.exit(1)
}

/**
 * Finding and opening module files is most of what `validate` costs, and files of similar code compress best together. So modules that are
 * always loaded together are one file in `dist/chunks/`: a module that is imported dynamically starts a file of its own. Each module is in
 * one file, so the entries and the command share it. Names stay and lines are short, for stack traces; spaces, a twentieth of the package,
 * do not. Validators, which no one reads, are minified, one file for each plugin.
 */
async function bundle() {
  const { build, transform } = await import('esbuild')
  const out = join(dist, 'chunks', '_')
  const outside = path => ({ path: relative(dirname(out), path).replaceAll('\\', '/'), external: true })
  const { outputFiles, metafile } = await build({
    absWorkingDir: dist,
    entryPoints: ENTRIES.map(name => `${name}.js`),
    outdir: dist,
    outbase: dist,
    write: false,
    metafile: true,
    bundle: true,
    splitting: true,
    chunkNames: 'chunks/[name]-[hash]',
    format: 'esm',
    platform: 'node',
    target: 'node22',
    packages: 'external',
    minifySyntax: true,
    minifyWhitespace: true,
    lineLimit: 200,
    legalComments: 'none',
    sourcemap: true,
    sourcesContent: false,
    logLevel: 'warning',
    plugins: [
      {
        name: 'parts',
        setup({ onLoad, onResolve }) {
          onResolve({ filter: /\/validators\/[\w.]+\.js$/ }, ({ path, resolveDir }) => outside(join(resolveDir, path)))
          onResolve({ filter: new RegExp(`^(${Object.keys(VENDORED).join('|')})$`) }, ({ path }) => outside(vendored(path)))
          // For developers of the runner: a checkout runs from its sources.
          onResolve({ filter: /^\.\/gen\/all\.js$/ }, ({ path }) => ({ path, external: true }))
          // A string is smaller than a literal with a key on each line, and faster to parse.
          onLoad({ filter: /\.json$/ }, ({ path }) => ({
            contents: `export default JSON.parse(${JSON.stringify(JSON.stringify(JSON.parse(readFileSync(path, 'utf8'))))})`,
          }))
        },
      },
    ],
  })
  checkPlaces(metafile)
  const chunks = outputFiles.map(({ path, text }) => [path, path.endsWith('.map') ? text : withClassNames(text)])
  for (const path of files('.js')) {
    if (path.includes(join('generated', 'validators'))) {
      const code = readFileSync(path, 'utf8').replace(/\n\/\/# sourceMappingURL=.*\n?$/, '\n')
      writeFileSync(path, (await transform(code, { minify: true, treeShaking: true, format: 'esm' })).code)
    } else rmSync(path)
  }
  for (const path of files('.map')) rmSync(path)
  await minifyRare(chunks, transform)
  const typed = new Set(files('.d.ts').flatMap(importsOf))
  for (const path of files('.json')) if (!typed.has(path)) rmSync(path)
  removeEmptyFolders(dist)
  for (const [path, text] of chunks) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, path.endsWith('.map') ? await shorterMap(text) : text)
  }
  await vendor(build)
  removeEmptyFolders(dist)
}

/** The translator of `new --from` is a large chunk that few commands load: it is minified, without a map. */
async function minifyRare(chunks, transform) {
  for (const chunk of chunks) {
    if (!/[\\/]from-\w+\.js$/.test(chunk[0])) continue
    const code = chunk[1].replace(/\n\/\/# sourceMappingURL=.*\n?$/, '\n')
    chunk[1] = (await transform(code, { minify: true, treeShaking: true, format: 'esm' })).code
    chunks.splice(
      chunks.findIndex(([path]) => path === `${chunk[0]}.map`),
      1,
    )
  }
}

function vendored(name) {
  return join(dist, 'vendor', `${name}.${VENDORED[name]}`)
}

/** A path outside the bundle is relative to the folder of chunks; modules with `import.meta` expect to be one folder below `dist`. */
function checkPlaces({ outputs }) {
  for (const [path, { imports, inputs, entryPoint }] of Object.entries(outputs)) {
    const external = imports.some(({ path, external }) => external && path.startsWith('.'))
    const placed = Object.keys(inputs).some(input => /import\.meta/.test(readFileSync(join(dist, input), 'utf8')))
    if ((external || placed) && path.split('/').length !== 2) throw new Error(`${entryPoint ?? path} must be in a folder of dist/`)
  }
}

/**
 * Errors are called what their class is called, and a class that mentions itself gets a second name. Restores it, and refuses a name that
 * was changed because another module has a class of that name.
 */
function withClassNames(code) {
  let restored = code
  for (const [, name] of code.matchAll(/\b(\w+)=class _\1\b/g)) restored = restored.replaceAll(new RegExp(`\\b_${name}\\b`, 'g'), name)
  for (const [, name, copy] of restored.matchAll(/\b([A-Z]\w*?)(\d+)=class\b/g)) {
    if (new RegExp(`\\b${name}=class\\b`).test(restored)) throw new Error(`class ${name} became ${name}${copy}: rename one of the two`)
  }
  return restored
}

/**
 * yaml has 72 files, commander 7: each becomes one. Both stay dependencies, of the very version that is in that file, so that audits and
 * bills of materials name them.
 */
async function vendor(build) {
  for (const [name, format] of Object.entries(VENDORED)) {
    const library = join(root, 'node_modules', name)
    const { version } = JSON.parse(readFileSync(join(library, 'package.json'), 'utf8'))
    await build({
      entryPoints: [fileURLToPath(import.meta.resolve(name))],
      outfile: vendored(name),
      bundle: true,
      platform: 'node',
      target: 'node22',
      format: format === 'cjs' ? 'cjs' : 'esm',
      minify: true,
      banner: { js: `/* ${name} ${version}\n\n${readFileSync(join(library, 'LICENSE'), 'utf8').trim()}\n*/` },
    })
  }
}

/** One position a line is what a stack trace needs; a map of every token is as large as the program. */
async function shorterMap(text) {
  const { decode, encode } = await import('@jridgewell/sourcemap-codec')
  const { version, sources, mappings } = JSON.parse(text)
  // Columns are left out, too: lines alone make the same few letters of most positions.
  const lines = decode(mappings).map(line => line.slice(0, 1).map(([, source, at]) => [0, source, at, 0]))
  return JSON.stringify({ version, sources, names: [], mappings: encode(lines) })
}

/** Declarations that no entry of the package leads to describe what cannot be imported. */
function keepPublicTypes() {
  const kept = new Set()
  const keep = path => {
    if (kept.has(path)) return
    kept.add(path)
    for (const imported of importsOf(path)) if (!imported.endsWith('.json')) keep(imported.replace(/\.[jt]s$/, '.d.ts'))
  }
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  for (const { types } of Object.values(exports)) if (types !== undefined) keep(join(root, types))
  for (const path of files('.d.ts')) {
    // An import for its effect declares nothing, and its module is in a chunk.
    if (kept.has(path)) writeFileSync(path, readFileSync(path, 'utf8').replaceAll(/^import '[^']+';\n/gm, ''))
    else rmSync(path)
  }
}

/** The files that a declaration imports. */
function importsOf(path) {
  const specifiers = readFileSync(path, 'utf8').matchAll(/(?:from |import\()['"](\.[^'"]+)['"]/g)
  return [...specifiers].map(([, specifier]) => resolve(dirname(path), specifier))
}

function removeEmptyFolders(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) if (entry.isDirectory()) removeEmptyFolders(join(folder, entry.name))
  if (readdirSync(folder).length === 0) rmdirSync(folder)
}

function files(suffix) {
  return readdirSync(dist, { recursive: true })
    .filter(name => name.endsWith(suffix))
    .map(name => join(dist, name))
}
