/** `runner schema [FILE]`: the JSON Schema of a pipeline file, for editors; with a file also its own plugins are in it. */
import type { Command } from 'commander'
import frame from '../../schemas/frame.schema.json' with { type: 'json' }
import { EXIT } from '../kit/exit-codes.ts'
import type { Plugin } from '../contract/plugin.ts'
import { composeSchema, type DescribedPlugin } from '../config/compose.ts'
import { loadPlugins } from '../config/load.ts'
import { KINDS, Registry } from '../config/registry.ts'
import { reportProblems } from './load.ts'
import type { Schema } from '../config/schema.ts'

export function register(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of pipeline files, for editors')
    .argument('[file]', 'a pipeline file whose own plugins are to be included')
    .addHelpText(
      'after',
      '\nExample:\n  $ runner schema my.yaml > my.schema.json\n  and as the first line of my.yaml:\n  # yaml-language-server: $schema=my.schema.json',
    )
    .action(async (file: string | undefined) => {
      process.exitCode = await schema(file)
    })
}

async function schema(file: string | undefined): Promise<number> {
  const { registry, problems } = file === undefined ? { registry: new Registry(), problems: [] } : await loadPlugins(file)
  if (problems.some(p => p.severity === 'error')) return await reportProblems(problems)
  const described: DescribedPlugin[] = []
  for (const kind of KINDS) {
    for (const type of registry.names(kind)) {
      const plugin = (await registry.load(kind, type)) as Plugin
      described.push({ kind, type, schema: plugin.schema as Schema })
    }
  }
  process.stdout.write(`${JSON.stringify(composeSchema(frame as unknown as Schema, described), null, 2)}\n`)
  return EXIT.ok
}
