/** `runner completion SHELL`: prints a script that completes commands, options and choices. */
import type { Command, Option } from 'commander'
import { bash, fish, type Node, zsh } from './completion/shells.ts'

const SHELLS = { bash, zsh, fish }

export function register(program: Command): void {
  const command = program.command('completion').description('print a completion script for a shell')
  command
    .addArgument(command.createArgument('<shell>', 'shell').choices(Object.keys(SHELLS)))
    .addHelpText(
      'after',
      '\nExamples:\n  $ source <(runner completion bash)                                    # in ~/.bashrc\n  $ source <(runner completion zsh)                                     # in ~/.zshrc\n  $ runner completion fish > ~/.config/fish/completions/runner.fish',
    )
    .action((shell: keyof typeof SHELLS) => {
      process.stdout.write(SHELLS[shell](nodeOf(program)))
    })
}

const nodeOf = (command: Command): Node => ({
  name: command.name(),
  description: command.description(),
  commands: command.commands.map(nodeOf),
  options: command.options.filter(o => !o.hidden).map(optionOf),
  choices: command.registeredArguments.flatMap(a => a.argChoices ?? []),
})

const optionOf = (option: Option): Node['options'][number] => ({
  long: option.long!,
  short: option.short,
  description: option.description,
  choices: option.argChoices ?? [],
  takesValue: option.required || option.optional,
})
