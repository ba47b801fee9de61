/**
 * `npm run build`: `dist/` from `src/`, as the package holds it. npm runs it before `npm pack` and `npm publish`.
 * Plain JavaScript for any Node from 20 on, like the other scripts.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const typescript = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

/** Libraries that every command loads, with the format they are written in. */
const VENDORED = { yaml: 'cjs', commander: 'mjs' }

await build()

async function build() {
  rmSync(dist, { recursive: true, force: true })
  compile()
  // Once more without comments, which are for the declarations and the repository: they are a tenth of the package.
  compile('--removeComments', '--declaration', 'false', '--noCheck')
  await shortenMaps()
  keepPublicTypes()
  await startFaster()
}

function compile(...options) {
  const { status } = spawnSync(process.execPath, [typescript, '-p', join(root, 'tsconfig.build.json'), ...options], { stdio: 'inherit' })
  if (status !== 0) process.exit(1)
}

/**
 * Most of what `validate` costs is finding and opening module files. yaml has 72 of them, commander 7: each becomes one. Both stay
 * dependencies, of the very version that is in that file, so that audits and bills of materials name them. The validators, which no one
 * reads, are minified.
 */
async function startFaster() {
  const esbuild = await import('esbuild')
  for (const [name, format] of Object.entries(VENDORED)) {
    const library = join(root, 'node_modules', name)
    const { version } = JSON.parse(readFileSync(join(library, 'package.json'), 'utf8'))
    await esbuild.build({
      entryPoints: [fileURLToPath(import.meta.resolve(name))],
      outfile: join(dist, 'vendor', `${name}.${format}`),
      bundle: true,
      platform: 'node',
      target: 'node22',
      format: format === 'cjs' ? 'cjs' : 'esm',
      minify: true,
      banner: { js: `/* ${name} ${version}\n\n${readFileSync(join(library, 'LICENSE'), 'utf8').trim()}\n*/` },
    })
  }
  for (const path of files('.js')) {
    let code = readFileSync(path, 'utf8')
    if (path.includes(join('generated', 'validators'))) code = (await esbuild.transform(code, { minify: true })).code
    for (const [name, format] of Object.entries(VENDORED)) {
      const bundled = relative(dirname(path), join(dist, 'vendor', `${name}.${format}`)).replaceAll('\\', '/')
      code = code.replaceAll(` from '${name}'`, ` from '${bundled.startsWith('.') ? bundled : `./${bundled}`}'`)
    }
    writeFileSync(path, code)
  }
}

/** One position a line is what a stack trace needs; a map of every token is as large as the program. Generated code has no source to look at. */
async function shortenMaps() {
  const { decode, encode } = await import('@jridgewell/sourcemap-codec')
  for (const path of files('.js.map')) {
    if (path.includes(join('generated', 'validators'))) {
      const code = path.slice(0, -'.map'.length)
      writeFileSync(code, readFileSync(code, 'utf8').replace(/\n\/\/# sourceMappingURL=.*\n?$/, '\n'))
      rmSync(path)
      continue
    }
    const map = JSON.parse(readFileSync(path, 'utf8'))
    // Columns are left out, too: lines alone make the same few letters of most positions.
    map.mappings = encode(decode(map.mappings).map(line => line.slice(0, 1).map(([, source, at]) => [0, source, at, 0])))
    writeFileSync(path, JSON.stringify(map))
  }
}

/** Declarations that no entry of the package leads to describe what cannot be imported. */
function keepPublicTypes() {
  const kept = new Set()
  const keep = path => {
    if (kept.has(path)) return
    kept.add(path)
    for (const [, specifier] of readFileSync(path, 'utf8').matchAll(/(?:from |import\()['"](\.[^'"]+)['"]/g))
      if (!specifier.endsWith('.json')) keep(resolve(dirname(path), specifier.replace(/\.[jt]s$/, '.d.ts')))
  }
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  for (const { types } of Object.values(exports)) if (types !== undefined) keep(join(root, types))
  for (const path of files('.d.ts')) if (!kept.has(path)) rmSync(path)
}

function files(suffix) {
  return readdirSync(dist, { recursive: true })
    .filter(name => name.endsWith(suffix))
    .map(name => join(dist, name))
}
