/** `runner gen PLUGIN.ts`: types of the config of a plugin, from its schema. `runner gen`: all files that are derived from the plugin schemas, written into the repository; `--check` only compares. For developers of the project. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { runCommand } from './command.ts'
import { EXIT } from '../kit/exit-codes.ts'
import { composeSchema } from '../config/compose.ts'
import type { Schema } from '../config/schema.ts'
import { discover } from './gen/discover.ts'
import { errorsPage } from './gen/errors.ts'
import { pluginMap } from './gen/plugin-map.ts'
import { referencePages } from './gen/reference.ts'
import { threadModule } from './gen/thread.ts'
import { configTypes } from './gen/types.ts'
import { validatorModule } from './gen/validators.ts'

export function register(program: Command): void {
  program
    .command('gen')
    .description('generate the types of a plugin from its schema')
    .argument('[plugin...]', 'your plugin files; without any: generate the files of the built-in plugins, for developers of the runner')
    .option('--check', 'write nothing; exit with 1 if a file is out of date')
    .addHelpText(
      'after',
      "\nExample:\n  $ runner gen ./discount.ts\n  writes discount.config.ts; in discount.ts: import type { DiscountConfig } from './discount.config.ts'",
    )
    .action(async (plugins: string[], flags: { check?: boolean }) => {
      await runCommand(async () => {
        const check = flags.check === true
        if (plugins.length > 0) return (await import('./gen/own.ts')).genOwn(plugins, check)
        // In a single executable, modules have no folder.
        const root = resolve(import.meta.dirname ?? '.', '../..')
        if (import.meta.dirname !== undefined && existsSync(join(root, 'src'))) return gen(root, check)
        process.stderr.write('name the file of a plugin: runner gen ./plugin.ts\n')
        return EXIT.config
      })
    })
}

export async function gen(root: string, check: boolean): Promise<number> {
  const files = await generate(root)
  const stale = [...files]
    .filter(([path, text]) => !existsSync(join(root, path)) || readFileSync(join(root, path), 'utf8') !== text)
    .map(([path]) => path)
  const orphans = ['docs/reference', 'src/generated/validators'].flatMap(folder =>
    readdirSync(join(root, folder))
      .map(name => `${folder}/${name}`)
      .filter(path => !files.has(path)),
  )
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
  const catalogue = JSON.parse(readFileSync(join(root, 'schemas/topics.schema.json'), 'utf8')) as Schema
  const plugins = await discover(root)
  for (const folder of ['docs/reference', 'src/generated/validators']) mkdirSync(join(root, folder), { recursive: true })
  const validators = new Map<string, string>()
  for (const [id, schema] of [['frame', frame] as const, ...plugins.map(p => [`${p.kind}.${p.type}`, p.schema] as const)]) {
    const text = await validatorModule(schema, id)
    if (text) validators.set(id, text)
  }
  const files = new Map([
    ['src/generated/plugins.ts', pluginMap(plugins, [...validators.keys()])],
    ['src/generated/config-types.ts', await configTypes(plugins)],
    ['schemas/pipeline.schema.json', `${JSON.stringify(composeSchema(frame, plugins), null, 2)}\n`],
    ['src/generated/reading-thread.ts', await threadModule(join(root, 'src/connectors/redis/client/reading/thread.ts'))],
    ['docs/errors.md', errorsPage()],
  ])
  for (const [name, text] of referencePages(frame, catalogue, plugins)) files.set(`docs/reference/${name}`, text)
  for (const [id, text] of validators) files.set(`src/generated/validators/${id}.ts`, text)
  return files
}
