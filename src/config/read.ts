/** Reads the text of a pipeline file, or reports why it cannot be read. */
import { readFile, stat } from 'node:fs/promises'
import { MAX_BYTES } from './parse.ts'
import type { Problems } from './problems.ts'
import { SourceText } from './tree.ts'

/** File name for standard input. Relative paths in it start from the working directory. */
export const STANDARD_INPUT = '-'

/** Of a file with more bytes, no text can be within the limit of characters. */
const LARGEST = 4 * MAX_BYTES

interface Input {
  readonly size: number
  read(): Promise<Buffer> | Buffer
}

async function fromDisk(file: string): Promise<Input> {
  const info = await stat(file)
  if (!info.isFile()) throw Object.assign(new Error(), { code: 'EISDIR' })
  return { size: info.size, read: () => readFile(file) }
}

/** Stops reading beyond the limit: a pipe may have no end. */
async function standardInput(): Promise<Input> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer)
    size += (chunk as Buffer).length
    if (size > LARGEST) break
  }
  return { size, read: () => Buffer.concat(chunks) }
}

export async function readText(file: string, problems: Problems): Promise<string | undefined> {
  const nowhere = { source: new SourceText(file, ''), start: 0, end: 0 }
  let bytes: Buffer
  try {
    const { size, read } = file === STANDARD_INPUT ? await standardInput() : await fromDisk(file)
    if (size > LARGEST) {
      problems.add(
        'CONFIG_LIMIT',
        nowhere,
        [],
        `${file === STANDARD_INPUT ? `standard input has more than ${LARGEST}` : `the file has ${size}`} bytes; the limit is ${MAX_BYTES}`,
      )
      return undefined
    }
    bytes = await read()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why =
      code === 'ENOENT'
        ? 'does not exist'
        : code === 'EISDIR'
          ? 'is not a file'
          : code === 'EACCES'
            ? 'cannot be read: permission denied'
            : `cannot be read (${code})`
    problems.add('CONFIG_READ', nowhere, [], `${file} ${why}`)
    return undefined
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    problems.add(
      'CONFIG_ENCODING',
      { source: new SourceText(file, bytes.toString('latin1')), start: firstBad(bytes), end: firstBad(bytes) + 1 },
      [],
      'this byte is not UTF-8: save the file as UTF-8',
    )
    return undefined
  }
}

/** Offset of the first byte that is not UTF-8: the longest valid prefix ends there. */
function firstBad(bytes: Buffer): number {
  const valid = (n: number): boolean => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, n), { stream: true })
      return true
    } catch {
      return false
    }
  }
  let low = 0
  let high = bytes.length
  while (low < high) {
    const mid = (low + high + 1) >> 1
    if (valid(mid)) low = mid
    else high = mid - 1
  }
  return Math.min(low, bytes.length - 1)
}
