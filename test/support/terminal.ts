/** The command on a terminal, which `script` of util-linux makes. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'

const BIN = fileURLToPath(new URL('../../bin/runner.js', import.meta.url))

export interface Screen {
  /** As it is drawn, with the sequences for colors. */
  readonly drawn: string
  /** Without them. */
  readonly text: string
}

/** `runner ARGS...` to its end; standard output and standard error are the terminal. */
export async function onTerminal(
  args: readonly string[],
  { cwd, columns = 300, env = {} }: { cwd?: string; columns?: number; env?: Record<string, string> } = {},
): Promise<Screen> {
  const quoted = [process.execPath, BIN, ...args].map(arg => `'${arg.replaceAll("'", String.raw`'\''`)}'`).join(' ')
  // Node.js prints no colors where CI is set.
  const { NO_COLOR: _, FORCE_COLOR: __, CI: ___, ...own } = process.env
  const drawn = await new Promise<string>(resolve =>
    execFile(
      'script',
      ['-qec', `stty cols ${columns} rows 50; ${quoted}`, '/dev/null'],
      { cwd, env: { ...own, TERM: 'xterm-256color', ...env } },
      (_error, stdout) => resolve(stdout.replaceAll('\r\n', '\n')),
    ),
  )
  return { drawn, text: stripVTControlCharacters(drawn) }
}
