/** `runner gen PLUGIN.ts`: types of the config of a plugin, from its schema. `runner gen`: all files that are derived from the plugin schemas, written into the repository; `--check` only compares. For developers of the project. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { runCommand } from './command.ts'
import { usageError } from './output.ts'

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
        if (import.meta.dirname !== undefined && existsSync(join(root, 'src'))) return (await import('./gen/all.ts')).gen(root, check)
        return usageError('name the file of a plugin: runner gen ./plugin.ts')
      })
    })
}
