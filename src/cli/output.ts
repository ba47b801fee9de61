/**
 * The look of all output: one accent color, symbols with words, the width of the terminal, `--quiet` and `--verbose`. What programs read (`--json`, records) has none of it.
 */
import { inspect, styleText } from 'node:util'
import { type Command, Option } from 'commander'
import { collect } from './options.ts'
import { EXIT } from '../kit/exit-codes.ts'
import { forTerminal, printable, safeJson } from '../kit/text/printable.ts'
import { redact } from '../kit/text/secrets.ts'

export interface OutputFlags {
  readonly quiet?: boolean
  readonly verbose?: boolean
  /** False: `--no-color`. */
  readonly color?: boolean
  readonly utc?: boolean
}

/** Of the command that runs; set before its action. Before that, an error of the command line must not have colors either. */
let flags: OutputFlags = process.argv.includes('--no-color') ? { color: false } : {}

export const quiet = (): boolean => flags.quiet === true
export const verbose = (): boolean => flags.verbose === true
export const utc = (): boolean => flags.utc === true

/** Adds the options of the output to all commands, and applies them to the one that runs. */
export function outputOptions(program: Command): void {
  const add = (command: Command): void => {
    if (command.commands.length > 0) return command.commands.forEach(add)
    const { options } = command
    const own = [
      new Option('-q, --quiet', 'print only results and problems').conflicts('verbose'),
      new Option('-v, --verbose', 'print more: all columns, whole cells, causes of errors'),
      new Option('--no-color', 'print no colors; also NO_COLOR=1; FORCE_COLOR=1 prints them always'),
      new Option('--utc', 'print times in UTC, not in the local time zone'),
    ]
    if (!options.some(o => o.long === '--env-file'))
      command.addOption(
        new Option('--env-file <file>', 'variables that are not set yet; repeatable; default: .env, if it exists').argParser(collect),
      )
    for (const option of own) if (!options.some(o => o.long === option.long)) command.addOption(option.helpGroup('Output:'))
  }
  add(program)
  program.hook('preAction', (_, command) => {
    flags = command.opts<OutputFlags>()
  })
}

export type Style = 'bold' | 'dim' | 'accent' | 'bad'
/** A failure is red, everything else that is emphasized has the accent color; bold and dim do not count as colors. */
const FORMATS = { bold: 'bold', dim: 'dim', accent: 'cyan', bad: 'red' } as const

/** Node.js decides by the stream, NO_COLOR, FORCE_COLOR and TERM. */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return flags.color === false ? text : styleText(FORMATS[style], text, { stream })
}

/** Whether `paint` adds colors on this stream. */
export const colors = (stream: NodeJS.WriteStream): boolean => paint('bold', '', stream) !== ''

/** How log lines on standard error are printed. */
export const logLook = (): { color: boolean; utc: boolean } => ({ color: colors(process.stderr), utc: utc() })

/** Columns of the terminal; undefined for a file or a pipe, and with `--verbose`: then nothing is cut or wrapped. */
export const widthOf = (stream: NodeJS.WriteStream = process.stdout): number | undefined =>
  stream.isTTY && stream.columns > 0 && !verbose() ? stream.columns : undefined

export type Outcome = 'ok' | 'warning' | 'failed'
const MARKS = { ok: ['accent', '✓ ok    '], warning: ['bold', '! WARN  '], failed: ['bad', '✗ FAILED'] } as const

/** Symbol and word, of one width. */
export const mark = (outcome: Outcome): string => paint(MARKS[outcome][0], MARKS[outcome][1])
/** The result of one step of a command, or of one file. */
export const outcomeLine = (outcome: Outcome, text: string): string => `${mark(outcome)}  ${text}\n`

/** Names and texts in it may come from data. */
export const print = (text: string): void => void process.stdout.write(forTerminal(redact(text), colors(process.stdout)))
/** Printed unless `--quiet`. */
export const note = (text: string): void => {
  if (!quiet()) print(text)
}
const complain = (style: Style, word: string, text: string): void =>
  void process.stderr.write(`${paint(style, word, process.stderr)} ${printable(text)}\n`)
/** Why a command failed, on standard error: in the form in which commander prints a wrong command line. */
export const printError = (text: string): void => complain('bad', 'error:', text)
export const printWarning = (text: string): void => complain('bold', 'warning:', text)
/** An error in the command line or in a setting. @returns its exit code */
export function usageError(text: string): number {
  printError(text)
  return EXIT.config
}
export const printJson = (value: unknown): void => print(`${safeJson(JSON.stringify(value, null, 2))}\n`)

/** The message of an error; with `--verbose` its stack and its causes. */
export function errorText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  if (!verbose() || !(error instanceof Error)) return message
  const [all, head] = [inspect(error, { colors: false }), `${error.name}: ${message}`]
  return `${message}${all.startsWith(head) ? all.slice(head.length) : `\n${all}`}`
}
