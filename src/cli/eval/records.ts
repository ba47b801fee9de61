/** Records for `runner eval`. */
import { createReadStream } from 'node:fs'
import { readUpTo } from '../../kit/http/answer.ts'
import { DecodeError, DEFAULT_DEPTH, EnvironmentError, Message, type Origin, parseJson, PipelineError } from '../../contract/plugin.ts'
import { malformedJson } from '../../contract/json-scan.ts'
import { byteOrderMark } from '../../kit/lines/encoding.ts'
import { Splitter } from '../../kit/lines/splitter.ts'
import { reasonOf } from '../../kit/system-error.ts'

export interface RecordsFlags {
  readonly input?: string
  readonly value?: string
  readonly key?: string
}

/** One empty record without `--input` and `--value`. @throws {PipelineError} with the line that is not JSON */
export async function readRecords({ input, value, key }: RecordsFlags): Promise<Message[]> {
  if (input !== undefined && value !== undefined) throw new PipelineError('PIPE_SETTINGS', '--input and --value exclude each other')
  const values = input === undefined ? [parse(value ?? '{}', '--value')] : parseFile(await read(input), input)
  const origin: Origin = { lane: input ?? 'value', source: 'eval', topic: input ?? 'value', partition: 0, format: 'json' }
  const bytes = key === undefined ? null : Buffer.from(key)
  return values.map((each, i) => new Message(each, undefined, Date.now(), undefined, i, origin, null, bytes))
}

/** All records are in memory together. */
const MAX = 64 * 1024 * 1024

async function read(file: string): Promise<Buffer> {
  try {
    const bytes = await readUpTo(file === '-' ? process.stdin : createReadStream(file), MAX)
    if (bytes === undefined) throw new Error('it has more than 64 MiB; use a part of it')
    return byteOrderMark(bytes) === 'utf-8' ? bytes.subarray(3) : bytes
  } catch (error) {
    throw new EnvironmentError(`cannot read ${file}: ${reasonOf(error)}`, error)
  }
}

/** A JSON array has one record per item; in all other files, each line is one. */
function parseFile(bytes: Buffer, file: string): unknown[] {
  const whole = /^\s*\[/.test(bytes.toString('latin1', 0, 1000)) ? attempt(bytes.toString()) : undefined
  if (Array.isArray(whole)) return whole
  const splitter = new Splitter({ maxBytes: bytes.length })
  return [...splitter.push(bytes), splitter.end()].flatMap(line => {
    const text = line?.bytes.toString() ?? ''
    return text.trim() === '' ? [] : [parse(text, `${file}:${line!.number}`)]
  })
}

function parse(text: string, place: string): unknown {
  const value = attempt(text)
  if (value instanceof Error) throw new PipelineError('PIPE_SETTINGS', `${place}: ${value.message}`, { cause: value })
  return value
}

function attempt(text: string): unknown {
  try {
    return parseJson(text, DEFAULT_DEPTH)
  } catch (error) {
    return error instanceof DecodeError ? error : malformedJson(text, error)
  }
}
