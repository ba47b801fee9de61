/** Command lines of benchmarks and load test: mistakes are reported in a line or two, with a suggestion; exit code 2. */
import { Command, InvalidArgumentError } from 'commander'
import { EXIT } from '../../src/kit/exit-codes.ts'
import { suggest } from '../../src/kit/text/suggest.ts'

export function command(name: string, description: string): Command {
  return new Command(name).description(description).exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? EXIT.ok : EXIT.config))
}

export function whole(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('write a whole number from 1 to 999999999.')
  return Number(text)
}

/** `2000,5000` */
export const wholes = (text: string): number[] => text.split(',').map(whole)

/** `ours,streams`, each one of `names`. */
export const oneOf =
  (names: readonly string[]) =>
  (text: string): string[] => {
    const given = text.split(',')
    const wrong = given.find(name => !names.includes(name))
    if (wrong !== undefined) {
      const near = suggest(wrong, names)
      throw new InvalidArgumentError(`choose from ${names.join(', ')}${near === undefined ? '' : `; did you mean ${near}?`}`)
    }
    return given
  }
