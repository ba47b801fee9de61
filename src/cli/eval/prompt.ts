/** The prompt of `runner eval`: an expression a line, over one record at a time. */
import { createInterface } from 'node:readline/promises'
import { formatText } from '../../config/format.ts'
import { encodeJson, type Message } from '../../contract/plugin.ts'
import { loadLanguage } from '../../expressions/on-demand.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { safeJson } from '../../kit/text/printable.ts'
import { colors, paint, print } from '../output.ts'
import { completions } from './completions.ts'
import { compileText, evaluate } from './expression.ts'

const HELP = `An expression prints its value and type over the current record. Tab completes fields and functions.
  :record   print the record
  :next     go to the next record
  :quit     leave; also Ctrl-D
`

export async function prompt(records: readonly Message[]): Promise<number> {
  const { FUNCTIONS } = await loadLanguage()
  let at = 0
  const lines = createInterface({
    input: process.stdin,
    output: process.stdout,
    prompt: '> ',
    completer: (line: string) => completions(line, records[at]?.value, FUNCTIONS),
  })
  process.stdout.write(`${records.length > 1 ? `${records.length} records. ` : ''}:help lists the commands.\n`)
  lines.prompt()
  for await (const line of lines) {
    const text = line.trim()
    if (text === ':quit') break
    if (text === ':help') process.stdout.write(HELP)
    else if (text === ':record') print(`${safeJson(encodeJson(records[at].value))}\n`)
    else if (text === ':next') {
      if (at + 1 < records.length) at++
      process.stdout.write(`record ${at + 1} of ${records.length}\n`)
    } else if (text.startsWith(':')) process.stdout.write(`${text} is not a command; :help lists them\n`)
    else if (text !== '') await answer(text, records[at])
    lines.prompt()
  }
  lines.close()
  process.stdout.write('\n')
  return EXIT.ok
}

async function answer(text: string, record: Message): Promise<void> {
  const compiled = await compileText(text)
  if ('problems' in compiled) {
    process.stdout.write(formatText(compiled.problems, { color: colors(process.stdout) }))
    return
  }
  const result = evaluate(compiled.expression, record)
  print('error' in result ? `${paint('bad', 'error:')} ${result.error}\n` : `${safeJson(result.text)}  ${paint('dim', compiled.type)}\n`)
}
