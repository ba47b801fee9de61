/** Delimited files of any dialect: the same records whatever the chunks. The first three bytes choose dialect and chunks. */
import { DecodeError, EnvironmentError } from '../../../src/contract/plugin.ts'
import { type RecordOptions, Records } from '../../../src/kit/lines/records.ts'
import { assert, expected, type Target } from '../target.ts'

const SEEDS = [
  'a,b,c\n1,2,3\n4,"x ""y"" z",6\n',
  '\ufeffa;b\r\n"1\n2";3\r\n',
  'a\tb\r1\t2\r',
  '# c\nx|y\n1|\\"2\n',
  'a,a,\n1,2,3,\n,,\n',
  '"a","b"\n"1","unclosed\n2,3\n',
]

export const target: Target = {
  name: 'csv',
  seeds: () => [
    ...SEEDS.flatMap((text, i) => [0, 1, 5].map(n => Buffer.concat([Buffer.from([i, n * 13, n]), Buffer.from(text)]))),
    Buffer.concat([Buffer.from([0, 0, 0]), Buffer.from(SEEDS[0], 'utf16le')]),
  ],
  dictionary: [
    '"',
    '""',
    '"\n',
    ',',
    ';',
    '\t',
    '\r',
    '\r\n',
    '\n',
    '\\"',
    '\ufeff',
    '\0',
    '#',
    Buffer.from([0xff, 0xfe]),
    Buffer.from([0x1f, 0x8b]),
  ],
  run: input =>
    expected([DecodeError, EnvironmentError], () => {
      const [dialect = 0, choices = 0, size = 0] = input
      const text = input.subarray(3)
      const whole = read(text, optionsOf(dialect, choices), text.length)
      const cut = read(text, optionsOf(dialect, choices), 1 + size)
      // Bytes that are 0 are looked for in the first chunk: files are read in larger ones.
      assert(whole === cut || text.includes(0), `the same records whatever the chunks: ${whole} and ${cut}`)
      return `${dialect % 6}:${whole.length.toString().length}:${(/malformed|quote|columns|UTF/.exec(whole) ?? [''])[0]}`
    }),
}

function optionsOf(dialect: number, choices: number): RecordOptions {
  return {
    format: (['csv', 'csv', 'csv', 'csv', 'jsonl', 'text'] as const)[dialect % 6],
    delimiter: [',', ';', '\t', '|', ',', ' '][dialect % 6],
    quoting: (['double', 'backslash', 'none'] as const)[choices % 3],
    header: (['names', 'rename', 'names', undefined] as const)[(choices >> 2) & 3],
    ...((choices & 16) !== 0 ? { trailing_delimiter: true } : {}),
    ...((choices & 32) !== 0 ? { comment: '#' } : {}),
    ...((choices & 64) !== 0 ? { skip_lines: 1 } : {}),
    max_line_size: (choices & 128) !== 0 ? 32 : 4096,
  }
}

function read(text: Buffer, options: RecordOptions, size: number): string {
  const records = new Records(options, 'f', 's', 'the file')
  const out: string[] = []
  const take = (messages: ReturnType<Records['push']>): void => {
    for (const { value, payload, failure, offset } of messages)
      out.push(
        failure
          ? `${offset} ${failure.message}`
          : `${offset} ${options.format === 'csv' ? JSON.stringify(value) : payload?.toString('latin1')}`,
      )
  }
  try {
    for (let at = 0; at < text.length; at += size) take(records.push(text.subarray(at, at + size), 1))
    take(records.end(1))
  } catch (error) {
    if (!(error instanceof EnvironmentError || error instanceof DecodeError)) throw error
    out.push(error.message)
  }
  return out.join('\n')
}
