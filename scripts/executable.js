/**
 * `npm run build:executable`: build/pipeline-runner-VERSION-linux-x64, one file that needs neither Node nor npm, and the licenses of what
 * is in it. esbuild bundles src/, Node makes a blob of the bundle (with compiled code), postject puts the blob into a copy of this Node.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fail, projectNode, root } from './bootstrap.js'
import { licenseText } from './packages.js'

if (process.platform !== 'linux' || process.arch !== 'x64')
  fail(`executables are built on Linux x64; this is ${process.platform} ${process.arch}`)
const node = realpathSync(projectNode())
// The blob fits the Node that makes it only.
if (process.execPath !== node)
  process.exit(spawnSync(node, [import.meta.filename, ...process.argv.slice(2)], { stdio: 'inherit' }).status ?? 1)

const require = createRequire(join(root, 'package.json'))
const { version, peerDependencies } = require('./package.json')
const folder = process.argv[2] ?? join(root, 'build')
const target = join(folder, `pipeline-runner-${version}-linux-x64`)
const temp = mkdtempSync(join(tmpdir(), 'executable-'))
try {
  mkdirSync(folder, { recursive: true })
  const main = join(temp, 'main.cjs')
  const blob = join(temp, 'blob')
  const config = join(temp, 'sea.json')
  const inputs = await bundle(main)
  writeFileSync(
    config,
    JSON.stringify({
      main,
      output: blob,
      disableExperimentalSEAWarning: true,
      useCodeCache: true,
      assets: { 'lz4-napi.node': require.resolve('@antoniomuso/lz4-napi-linux-x64-gnu') },
    }),
  )
  execFileSync(node, ['--experimental-sea-config', config], { stdio: 'pipe' })
  // Beside the target and renamed: one that is running can be replaced, and an interrupted build leaves none.
  const unfinished = `${target}.${process.pid}`
  copyFileSync(node, unfinished)
  const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'
  // It warns of sections of Node's own without a name; what it prints is shown when it fails.
  execFileSync(node, [require.resolve('postject/dist/cli.js'), unfinished, 'NODE_SEA_BLOB', blob, '--sentinel-fuse', fuse], {
    stdio: 'pipe',
  })
  execFileSync('mv', ['-f', unfinished, target])
  writeFileSync(`${target}.licenses.txt`, licenses(inputs))
  console.log(`${target} (${(statSync(target).size / 1e6).toFixed(0)} MB)`)
} finally {
  rmSync(temp, { recursive: true, force: true })
}

async function bundle(outfile) {
  const { metafile } = await require('esbuild').build({
    entryPoints: [join(root, 'src/executable.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    metafile: true,
    minifySyntax: true,
    logLevel: 'warning',
    // The scripts of an executable have no URL; nothing lies below this one.
    banner: { js: "const __url = require('node:url').pathToFileURL(process.execPath + '/app/main.js').href" },
    define: { 'import.meta.url': '__url', 'import.meta.dirname': 'undefined', 'import.meta.resolve': 'undefined' },
    // The optional packages, what only `gen` of the checkout needs, add-ons, and what libraries try to load and do without.
    external: [...Object.keys(peerDependencies), 'esbuild', 'lz4-napi', 'pg-native', 'bufferutil', 'utf-8-validate'],
    plugins: [{ name: 'framing', setup: replaceFraming }],
  })
  return Object.keys(Object.values(metafile.outputs)[0].inputs)
}

/** kafkajs's framing of requests is replaced where the package does it when it is loaded: src/connectors/kafka/client/framing.ts. */
function replaceFraming(build) {
  build.onLoad({ filter: /kafkajs\/src\/protocol\/request\.js$/ }, () => ({
    contents: `module.exports = options => require(${JSON.stringify(join(root, 'src/connectors/kafka/client/framing.ts'))}).frame(options)`,
    resolveDir: root,
  }))
}

/** License texts are included with copies: of Node.js, and of each package with a file in the bundle, and of the add-on. */
function licenses(inputs) {
  const packages = new Set(['node_modules/lz4-napi'])
  for (const input of inputs) {
    const [path] = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input) ?? []
    if (path !== undefined) packages.add(path)
  }
  const texts = [...packages].toSorted().map(path => {
    const folder = join(root, path)
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    return `${name} ${version} (${license})\n\n${licenseText(folder)}`
  })
  const own = `pipeline-runner ${version} (Apache-2.0)\n\n${readFileSync(join(root, 'LICENSE'), 'utf8').trim()}`
  const runtime = `Node.js ${process.versions.node}\n\nhttps://github.com/nodejs/node/blob/v${process.versions.node}/LICENSE`
  return `${[own, runtime, ...texts].join(`\n\n${'-'.repeat(80)}\n\n`)}\n`
}
