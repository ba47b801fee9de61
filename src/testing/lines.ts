/** What a source of lines (`file`, `stdin`) makes of bytes: decoded, cut and headed by the code that a run uses. */
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { EnvironmentError, Message } from '../contract/plugin.ts'
import type { Step } from '../config/model.ts'
import { byteOrderMark, type Encoding, Transcoder } from '../kit/lines/encoding.ts'
import { delimiterFor, formatOf, type LineFormat, type RecordOptions, Records } from '../kit/lines/records.ts'

interface LinesConfig extends Omit<RecordOptions, 'format' | 'delimiter'> {
  readonly path?: string
  readonly format: LineFormat | 'auto'
  readonly delimiter?: string
  readonly compression?: 'auto' | 'none' | 'gzip' | 'zstd'
}

/** One record of the content; `stop`: the source cannot read on. */
export interface LineRecord {
  readonly message?: Message
  readonly stop?: Error
}

export const readsLines = (step: Step): boolean => step.type === 'file' || step.type === 'stdin'

/** `auto` by the name that the pipeline has; where that has wildcards, by the name of the test's file. */
export function lineFormat(step: Step, name: string | undefined): LineFormat {
  const { path = '', format } = step.config as LinesConfig
  return formatOf(format, /[*?[{]/.test(path) ? (name ?? path) : path)
}

/** `name`: of the test's file; undefined: the bytes are written in the test. */
export function linesOf(step: Step, bytes: Buffer, name: string | undefined, time: number): LineRecord[] {
  const config = step.config as LinesConfig
  const what = name ?? step.name
  const out: LineRecord[] = []
  try {
    const plain = decompressed(bytes, name, config.compression ?? 'none')
    const { encoding = 'auto' } = config
    const known: Encoding = encoding === 'auto' ? (byteOrderMark(plain) ?? 'utf-8') : encoding
    // A stream is not looked at: `stdin` is UTF-8 unless the pipeline says otherwise.
    const transcoder = new Transcoder(encoding === 'auto' && step.type === 'stdin' ? 'utf-8' : known)
    const format = lineFormat(step, name)
    const records = new Records({ ...config, format, delimiter: delimiterFor(config.delimiter, config.path ?? '') }, what, step.name, what)
    // Piece by piece: what comes before a header that cannot be one has been read.
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
    throw new EnvironmentError(`cannot read ${name} as ${kind}: ${(error as Error).message}`, error)
  }
}
