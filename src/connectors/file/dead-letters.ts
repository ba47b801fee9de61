/** A dlq that is a file: one lane, whose offsets are line numbers. */
import { type FileHandle, open } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { EnvironmentError, Message, type DeadLetterReader, type Origin } from '../../contract/plugin.ts'
import { readEnvelope } from '../../kit/lines/envelope.ts'
import { type Line, Splitter } from '../../kit/lines/splitter.ts'
import { reasonOf } from '../../kit/system-error.ts'

const CHUNK = 256 * 1024
/** More than any broker accepts. */
const MAX_LINE = 64 * 1024 * 1024

export function readFileDeadLetters(path: string): DeadLetterReader {
  const origin: Origin = { lane: path, source: 'dlq', format: 'bytes' }
  let handle: FileHandle | undefined
  let size = 0
  let splitter = new Splitter({ maxBytes: MAX_LINE })
  let at = 0
  /** Number of the next line. */
  let next = 1

  const restart = (): void => {
    splitter = new Splitter({ maxBytes: MAX_LINE })
    at = 0
    next = 1
  }

  return {
    what: `file ${path}`,

    async lanes() {
      try {
        handle ??= await open(path, 'r')
        ;({ size } = await handle.stat())
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
        throw new EnvironmentError(`can't read ${path}: ${reasonOf(error)}`, error)
      }
      return size === 0 ? [] : [{ id: `${path}#${await firstLine(handle)}`, partition: 0, from: 1, to: Number.MAX_SAFE_INTEGER }]
    },

    async read(_, offset) {
      if (offset < next) restart()
      for (;;) {
        // A last line without a line break is still being written.
        const buffer = Buffer.allocUnsafe(Math.min(CHUNK, size - at))
        const { bytesRead } = await handle!.read(buffer, 0, buffer.length, at)
        if (bytesRead === 0) return { messages: [], next: Math.max(next, offset), end: true }
        at += bytesRead
        const lines = splitter.push(buffer.subarray(0, bytesRead))
        next += lines.length
        const messages = lines.filter(line => line.number >= offset && line.bytes.length > 0).map(line => toMessage(line, origin))
        if (messages.length > 0) return { messages, next, end: at >= size }
      }
    },

    async close() {
      await handle?.close()
      handle = undefined
    },
  }
}

/** A checksum that identifies the file: another file at this path is another lane, and none of its dead letters are done. */
async function firstLine(handle: FileHandle): Promise<string> {
  const buffer = Buffer.alloc(4096)
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0)
  const end = buffer.subarray(0, bytesRead).indexOf(10)
  return crc32(buffer.subarray(0, end < 0 ? bytesRead : end)).toString(16)
}

/** A line that is not an envelope is returned unchanged, without headers: it is not a dead letter, but it is shown. */
function toMessage({ bytes, number }: Line, origin: Origin): Message {
  try {
    const { value, key, time, headers } = readEnvelope(bytes.toString())
    return Message.fromRecord(value, key, time, headers, number, origin)
  } catch {
    return Message.fromRecord(bytes, null, 0, undefined, number, origin)
  }
}
