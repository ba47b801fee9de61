/** `runner schema [FILE]`: the JSON Schema of a pipeline file, for editors; with a file, it includes the plugins of that file. */
import { writeFileSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import type { Command } from 'commander'
import frame from '../../schemas/frame.schema.json' with { type: 'json' }
import { EXIT } from '../kit/exit-codes.ts'
import { makeDirs } from '../kit/make-dirs.ts'
import type { Plugin } from '../contract/plugin.ts'
import { composeSchema, type DescribedPlugin } from '../config/compose.ts'
import { loadPlugins } from '../config/load.ts'
import { KINDS, Registry } from '../config/registry.ts'
import { reportProblems } from './load.ts'
import { note, outcomeLine, print, printError } from './output.ts'
import type { Schema } from '../config/schema.ts'
import { reasonOf } from '../kit/system-error.ts'

export function register(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of pipeline files for editors')
    .argument('[file]', 'a pipeline file whose plugins are included')
    .option('-o, --output <path>', 'write it to this file instead of standard output')
    .addHelpText(
      'after',
      '\nExample:\n  $ runner schema my.yaml -o my.schema.json\n  and as the first line of my.yaml:\n  # yaml-language-server: $schema=my.schema.json',
    )
    .action(async (file: string | undefined, flags: { output?: string }) => {
      process.exitCode = await schema(file, flags.output)
    })
}

async function schema(file: string | undefined, output: string | undefined): Promise<number> {
  const { registry, problems } = file === undefined ? { registry: new Registry(), problems: [] } : await loadPlugins(file)
  if (problems.some(p => p.severity === 'error')) return await reportProblems(problems)
  const described: DescribedPlugin[] = []
  for (const kind of KINDS) {
    for (const type of registry.names(kind)) {
      const plugin = (await registry.load(kind, type)) as Plugin
      described.push({ kind, type, schema: plugin.schema as Schema })
    }
  }
  const text = `${JSON.stringify(composeSchema(frame as unknown as Schema, described, registry.loaded.length > 0), null, 2)}\n`
  if (output === undefined) {
    process.stdout.write(text)
    return EXIT.ok
  }
  try {
    makeDirs(dirname(output))
    writeFileSync(output, text)
  } catch (error) {
    printError(`cannot write ${output}: ${reasonOf(error)}`)
    return EXIT.environment
  }
  print(outcomeLine('ok', `wrote ${output}`))
  note(`The first line of ${file ?? 'a pipeline file'}: # yaml-language-server: $schema=${hintFor(file, output)}\n`)
  return EXIT.ok
}

/** Relative to the folder of the file, as the file must name it. */
function hintFor(file: string | undefined, output: string): string {
  if (file === undefined) return output
  const path = relative(dirname(file), output).replaceAll('\\', '/')
  return path.startsWith('.') ? path : `./${path}`
}
