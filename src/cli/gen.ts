/** `runner gen`: everything that follows from the plugins' schemas, written into the repository; `--check` only compares. For developers of the project. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { EXIT } from '../errors.ts'
import { composeSchema } from '../runtime/config/compose.ts'
import type { Schema } from '../runtime/config/schema.ts'
import { discover } from './gen/discover.ts'
import { errorsPage } from './gen/errors.ts'
import { pluginMap } from './gen/plugin-map.ts'
import { referencePages } from './gen/reference.ts'
import { configTypes } from './gen/types.ts'

export function register(program: Command): void {
  program
    .command('gen')
    .description('for developers: generate the composed schema, the plugin map, the config types and the reference from the plugins’ schemas')
    .option('--check', 'write nothing; exit 1 when something is stale')
    .action(async (flags: { check?: boolean }) => {
      process.exitCode = await gen(resolve(import.meta.dirname, '../..'), flags.check === true)
    })
}

export async function gen(root: string, check: boolean): Promise<number> {
  const files = await generate(root)
  const stale = [...files].filter(([path, text]) => !existsSync(join(root, path)) || readFileSync(join(root, path), 'utf8') !== text).map(([path]) => path)
  const orphans = readdirSync(join(root, 'docs/reference'), { withFileTypes: true })
    .filter(e => e.isFile() && e.name.endsWith('.md') && !files.has(`docs/reference/${e.name}`))
    .map(e => `docs/reference/${e.name}`)
  if (check) {
    for (const path of [...stale, ...orphans]) process.stderr.write(`stale: ${path}\n`)
    if (stale.length + orphans.length > 0) process.stderr.write('run `npm run gen` and commit the result\n')
    return stale.length + orphans.length > 0 ? EXIT.runtime : EXIT.ok
  }
  for (const path of stale) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), files.get(path)!)
    process.stdout.write(`wrote ${path}\n`)
  }
  for (const path of orphans) {
    rmSync(join(root, path))
    process.stdout.write(`removed ${path}\n`)
  }
  return EXIT.ok
}

async function generate(root: string): Promise<Map<string, string>> {
  const frame = JSON.parse(readFileSync(join(root, 'schemas/frame.schema.json'), 'utf8')) as Schema
  const plugins = discover(root)
  mkdirSync(join(root, 'docs/reference'), { recursive: true })
  const files = new Map([
    ['src/plugins.gen.ts', pluginMap(plugins)],
    ['src/config.gen.ts', await configTypes(plugins)],
    ['schemas/pipeline.schema.json', `${JSON.stringify(composeSchema(frame, plugins), null, 2)}\n`],
    ['docs/errors.md', errorsPage()],
  ])
  for (const [name, text] of referencePages(frame, plugins)) files.set(`docs/reference/${name}`, text)
  return files
}
