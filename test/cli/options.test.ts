/** Defaults printed by `--help` are valid input. */
import { globSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Argument, Command, type Option } from 'commander'
import { expect, test } from 'vitest'

const program = new Command('runner')
for (const file of globSync('src/cli/*.ts')
  .filter(f => !f.endsWith('main.ts'))
  .sort()) {
  const { register } = (await import(resolve(file))) as { register?: (program: Command) => void }
  register?.(program)
}
const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)]
const commands = all(program).map(c => [[c.parent?.name(), c.name()].filter(n => n && n !== 'runner').join(' '), c] as const)

/** As the help shows it, typed into a shell. */
function typed({ defaultValue, defaultValueDescription }: Option | Argument): string {
  const printed = defaultValueDescription ?? JSON.stringify(defaultValue)
  return /^".*"$/.test(printed) ? (JSON.parse(printed) as string) : printed
}

test('the list of commands is complete', () => expect(commands.length).toBeGreaterThan(20))

test.each(commands)('%s', (_, command) => {
  const options = command.options.filter(o => !o.isBoolean() && o.defaultValue !== undefined)
  for (const o of options) {
    const text = typed(o)
    expect(command.helpInformation().replaceAll(/\s+/g, ' '), o.flags).toContain(
      `default: ${o.defaultValueDescription ?? JSON.stringify(o.defaultValue)}`,
    )
    if (o.argChoices) expect(o.argChoices, o.flags).toContain(text)
    // commander passes the previous value to the parser; there is none.
    const value: unknown = o.parseArg ? o.parseArg(text, undefined as never) : text
    expect(value, `${o.flags} ${text}`).toEqual(o.defaultValue)
  }
  for (const a of command.registeredArguments.filter(a => a.defaultValue !== undefined)) {
    const text = typed(a)
    expect(a.variadic ? [text] : text, a.name()).toEqual(a.defaultValue)
  }
})
