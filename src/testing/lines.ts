/** The records that a line source (`file`, `stdin`) reads from bytes, with the same code as in a run. */
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { EnvironmentError, Message } from '../contract/plugin.ts'
import type { Step } from '../config/model.ts'
import { byteOrderMark, type Encoding, Transcoder } from '../kit/lines/encoding.ts'
import { delimiterFor, formatOf, type LineFormat, type RecordOptions, Records } from '../kit/lines/records.ts'
import { reasonOf } from '../kit/system-error.ts'

interface LinesConfig extends Omit<RecordOptions, 'format' | 'delimiter'> {
  readonly path?: string
  readonly format: LineFormat | 'auto'
  readonly delimiter?: string
  readonly compression?: 'auto' | 'none' | 'gzip' | 'zstd'
}

/** One record; `stop`: the error with which the source stops. */
export interface LineRecord {
  readonly message?: Message
  readonly stop?: Error
}

export const readsLines = (step: Step): boolean => step.type === 'file' || step.type === 'stdin'

/** Resolves `auto` by the path in the pipeline; if that has wildcards, by the file name in the test. */
export function lineFormat(step: Step, name: string | undefined): LineFormat {
  const { path = '', format } = step.config as LinesConfig
  return formatOf(format, /[*?[{]/.test(path) ? (name ?? path) : path)
}

/** @param name of the file; undefined: the bytes are in the test file itself */
export function linesOf(step: Step, bytes: Buffer, name: string | undefined, time: number): LineRecord[] {
  const config = step.config as LinesConfig
  const what = name ?? step.name
  const out: LineRecord[] = []
  try {
    const plain = decompressed(bytes, name, config.compression ?? 'none')
    const { encoding = 'auto' } = config
    const known: Encoding = encoding === 'auto' ? (byteOrderMark(plain) ?? 'utf-8') : encoding
    // A stream has no detection: `stdin` is UTF-8 unless the pipeline sets another encoding.
    const transcoder = new Transcoder(encoding === 'auto' && step.type === 'stdin' ? 'utf-8' : known)
    const format = lineFormat(step, name)
    const records = new Records({ ...config, format, delimiter: delimiterFor(config.delimiter, config.path ?? '') }, what, step.name, what)
    // Records before an invalid header have been read, as in a run.
    for (const chunk of [transcoder.push(plain), transcoder.end()]) for (const message of records.push(chunk, time)) out.push({ message })
    for (const message of records.end(time)) out.push({ message })
  } catch (error) {
    out.push({ stop: error as Error })
  }
  return out
}

function decompressed(bytes: Buffer, name: string | undefined, compression: 'auto' | 'none' | 'gzip' | 'zstd'): Buffer {
  if (name === undefined) return bytes
  const kind = compression === 'auto' ? (/\.gz$/i.test(name) ? 'gzip' : /\.zst$/i.test(name) ? 'zstd' : 'none') : compression
  try {
    return kind === 'gzip' ? gunzipSync(bytes) : kind === 'zstd' ? zstdDecompressSync(bytes) : bytes
  } catch (error) {
    throw new EnvironmentError(`cannot read ${name} as ${kind}: ${reasonOf(error)}`, error)
  }
}
