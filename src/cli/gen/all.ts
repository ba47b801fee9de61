/** `runner gen` in a checkout: everything that is derived from the plugin schemas. The package does not contain it (scripts/build.js). */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { outcomeLine, print, printError } from '../output.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { composeSchema } from '../../config/compose.ts'
import type { Schema } from '../../config/schema.ts'
import { discover } from './discover.ts'
import { errorsPage } from './errors.ts'
import { pluginMap } from './plugin-map.ts'
import { referencePages } from './reference.ts'
import { threadModule } from './thread.ts'
import { configTypes } from './types.ts'
import { validatorModule } from './validators.ts'

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
    for (const path of [...stale, ...orphans]) printError(`${path} is out of date; run npm run gen and commit the result`)
    return stale.length + orphans.length > 0 ? EXIT.runtime : EXIT.ok
  }
  for (const path of stale) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), files.get(path)!)
    print(outcomeLine('ok', `wrote ${path}`))
  }
  for (const path of orphans) {
    rmSync(join(root, path))
    print(outcomeLine('ok', `removed ${path}`))
  }
  return EXIT.ok
}

async function generate(root: string): Promise<Map<string, string>> {
  const frame = JSON.parse(readFileSync(join(root, 'schemas/frame.schema.json'), 'utf8')) as Schema
  const catalog = JSON.parse(readFileSync(join(root, 'schemas/topics.schema.json'), 'utf8')) as Schema
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
  for (const [name, text] of referencePages(frame, catalog, plugins)) files.set(`docs/reference/${name}`, text)
  for (const [id, text] of validators) files.set(`src/generated/validators/${id}.ts`, text)
  return files
}
