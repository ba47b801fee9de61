import type { FileSinkConfig } from '../../generated/config-types.ts'
import {
  BatchError,
  type ConfigProblem,
  type Context,
  DataError,
  DecodeError,
  defineSink,
  EnvironmentError,
  type Message,
} from '../../contract/plugin.ts'
import { DELIMITER_RULE, delimiterOf, formatRecord, isDelimiter, parseRecord, standard } from '../../kit/lines/csv.ts'
import { jsonLine, textLine } from '../../kit/lines/encode.ts'
import { envelopeLine } from '../../kit/lines/envelope.ts'
import { makeDirs } from '../../kit/make-dirs.ts'
import { readFileDeadLetters } from './dead-letters.ts'
import { FileSet, type OutputFile } from './file-set.ts'
import { escapeFormula, unescapeFormula } from './formulas.ts'
import { baseFolder, checkTemplate, isTemplate, pathMaker, readsFields } from './path-template.ts'
import { delimiterFor, formatOf, plainName } from '../../kit/lines/records.ts'
import { isRecord } from '../../kit/values/records.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import lines from '../../kit/keys/lines.schema.json' with { type: 'json' }
import schema from './sink.schema.json' with { type: 'json' }
import { FileWriter } from './writer.ts'
import { reasonOf } from '../../kit/system-error.ts'

export default defineSink<FileSinkConfig>({
  type: 'file',
  schema: withKeys(schema, lines, ['delimiter']),
  onRedelivery: 'appends',
  reason: 'a repeated write appends a second line',
  readsValue: config => formatOf(config.format, config.path) === 'csv' || readsFields(config.path),
  validateConfig,
  readDeadLetters: async config => {
    if (isTemplate(config.path))
      throw new EnvironmentError(`path ${config.path} names many files; runner dlq needs a path without placeholders`)
    return readFileDeadLetters(config.path)
  },
  check: async config => (await import('./check.ts')).checkSink(config),
  create(config, ctx) {
    const make = formatOf(config.format, config.path) === 'csv' ? csvFile : lineFile
    if (!isTemplate(config.path)) return make(config, ctx)
    const within = baseFolder(config.path)
    const files = new FileSet(pathMaker(config.path), path => make({ ...config, path }, ctx, within), config.max_open_files)
    return {
      // Creates the folder at the start, so that a failure shows before the first message.
      open: async () => makeBase(within),
      write: messages => files.write(messages),
      close: () => files.close(),
    }
  },
})

function makeBase(folder: string): void {
  try {
    makeDirs(folder)
  } catch (error) {
    throw new EnvironmentError(`can't create folder ${folder}: ${reasonOf(error)}`, error)
  }
}

function validateConfig(config: FileSinkConfig, { dlq } = { dlq: false }): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const wrong = checkTemplate(config.path)
  if (wrong !== undefined) problems.push({ path: ['path'], message: wrong })
  if (plainName(config.path) !== config.path)
    problems.push({
      path: ['path'],
      message: 'the file sink does not compress; remove the compression suffix from the name',
      suggestion: plainName(config.path),
    })
  const format = formatOf(config.format, config.path)
  if (dlq && format === 'csv')
    problems.push({
      path: ['path'],
      message: 'CSV cannot hold the original bytes and the headers of a dead letter; write to a .jsonl file',
    })
  if (dlq && readsFields(config.path))
    problems.push({ path: ['path'], message: 'a dead letter is the original bytes, without fields; use only times and @ names in path' })
  if (config.columns && format !== 'csv')
    problems.push({ path: ['columns'], message: `columns needs format: csv, and the format is ${format}` })
  if (config.formulas === 'escape' && format !== 'csv')
    problems.push({ path: ['formulas'], message: `formulas needs format: csv, and the format is ${format}` })
  if (config.envelope && format !== 'jsonl')
    problems.push({ path: ['envelope'], message: `envelope needs format: jsonl, and the format is ${format}` })
  if (!isDelimiter(config.delimiter ?? ',')) problems.push({ path: ['delimiter'], message: DELIMITER_RULE, suggestion: ',' })
  return problems
}

const writerOf = ({ step, pipeline, dlq }: Context): string => `${dlq ? 'the dlq' : `step '${step}'`} of pipeline '${pipeline}'`

const LF = Buffer.from('\n')

function lineFile(config: FileSinkConfig, ctx: Context, within?: string): OutputFile {
  const json = formatOf(config.format, config.path) === 'jsonl'
  const envelope = config.envelope ?? ctx.dlq === true
  const line = !json ? textLine : envelope ? envelopeLine : jsonLine
  const file = new FileWriter({
    path: config.path,
    sync: config.fsync === 'always',
    isWhole: json ? isWholeJson : () => false,
    within,
    writer: writerOf(ctx),
    log: ctx.log,
  })
  return {
    get torn() {
      return file.torn
    },
    open: () => file.open(),
    async write(messages) {
      if (messages.length > 0) await file.write(() => Buffer.concat(messages.flatMap(m => [asBuffer(line(m)), LF])))
    },
    close: () => file.close(),
  }
}

const asBuffer = (text: Buffer | string): Buffer => (typeof text === 'string' ? Buffer.from(text) : text)

/** JSON that ends with a bracket or a quote is complete. */
function isWholeJson(line: string): boolean {
  try {
    JSON.parse(line)
    return /[\]}"]\s*$/.test(line)
  } catch {
    return false
  }
}

/** The columns come from the config, or from the header of the file, or from the first record. */
function csvFile(config: FileSinkConfig, ctx: Context, within?: string): OutputFile {
  const delimiter = delimiterOf(delimiterFor(config.delimiter, config.path))
  const escapes = config.formulas === 'escape'
  const line = (values: readonly unknown[]): string => formatRecord(escapes ? values.map(escapeFormula) : values, delimiter)
  const file = new FileWriter({
    path: config.path,
    sync: config.fsync === 'always',
    isWhole: () => false,
    within,
    writer: writerOf(ctx),
    log: ctx.log,
  })
  let columns: readonly string[] | undefined

  return {
    get torn() {
      return file.torn
    },

    async open() {
      await file.open()
      columns = config.columns
      const header = await file.firstLine()
      if (header === undefined) return
      const found = parseHeader(header)
      if (columns && line(columns) !== line(found)) {
        throw new EnvironmentError(
          `${config.path} has the columns ${found.join(', ')}, but columns is ${columns.join(', ')}; set columns to those of the file, or write to another file`,
        )
      }
      columns = found
    },

    async write(messages) {
      if (messages.length === 0) return
      const failed = new Map<number, Error>()
      await file.write(() => {
        let names = columns
        const lines: string[] = []
        messages.forEach((message, i) => {
          try {
            const value = record(message)
            names ??= Object.keys(value)
            lines.push(row(value, names))
          } catch (error) {
            if (!(error instanceof DataError || error instanceof DecodeError)) throw error
            failed.set(i, error)
          }
        })
        if (names && lines.length > 0 && file.empty) lines.unshift(line(names))
        columns = names
        return Buffer.from(lines.map(l => `${l}\n`).join(''))
      })
      if (failed.size > 0) throw new BatchError(failed)
    },

    close: () => file.close(),
  }

  function row(value: Record<string, unknown>, names: readonly string[]): string {
    // Configured columns select fields on purpose; columns taken from a file or a record must not lose fields.
    const extra = config.columns ? undefined : Object.keys(value).find(name => !names.includes(name))
    if (extra !== undefined) throw new DataError(`field '${extra}' is not a column of ${config.path} (${names.join(', ')})`)
    return line(names.map(name => (Object.hasOwn(value, name) ? value[name] : undefined)))
  }

  function parseHeader(header: string): string[] {
    try {
      const names = parseRecord(header, standard(delimiter))
      return escapes ? names.map(unescapeFormula) : names
    } catch (error) {
      throw new EnvironmentError(`${config.path}: the header line is not valid CSV: ${(error as Error).message}`)
    }
  }
}

function record(message: Message): Record<string, unknown> {
  const { value } = message
  if (isRecord(value) && Object.keys(value).length > 0) return value
  throw new DataError('a CSV record must be an object with at least one field')
}
