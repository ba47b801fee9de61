/** `runner lsp`: the language server for editors, on standard input and output. */
import type { Command } from 'commander'
import { runCommand } from './command.ts'

export function register(program: Command): void {
  program
    .command('lsp')
    .description('language server for editors, on standard input and output')
    .option('--stdio', 'the only way to connect; accepted because many editors pass it')
    .addHelpText(
      'after',
      `
Plugins of a pipeline are loaded, and .env and \${file:} are read, only with the initialization option plugins: true. Without it, files
are checked as by validate --no-plugins.

Exit codes: 0 after the shutdown request, 1 if the connection ends without it, 3 a package is missing.

Example:
  $ npm install --save-dev pipeline-runner vscode-languageserver vscode-languageserver-textdocument
  docs/guide/editor.md has the settings of editors.`,
    )
    .action(async () => {
      await runCommand(async () => (await import('./lsp/server.ts')).serve())
    })
}
