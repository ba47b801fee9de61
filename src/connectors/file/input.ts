/** The bytes of a file by position: unchanged, decompressed, or converted to UTF-8. */
import type { FileHandle } from 'node:fs/promises'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { EnvironmentError } from '../../contract/plugin.ts'
import { byteOrderMark, type Encoding, Transcoder } from '../../kit/lines/encoding.ts'
import { reasonOf } from '../../kit/system-error.ts'

export type Compression = 'none' | 'gzip' | 'zstd'

export interface Input {
  /** Reads before this position need no second pass over the file. */
  readonly seekable: boolean
  /** At most `size` bytes from `at` on; empty if none are available now. */
  read(at: number, size: number): Promise<Buffer>
  close(): Promise<void>
}

/** `auto` decides by the file name. */
export function compressionOf(compression: Compression | 'auto', path: string): Compression {
  if (compression !== 'auto') return compression
  return /\.gz$/i.test(path) ? 'gzip' : /\.zst$/i.test(path) ? 'zstd' : 'none'
}

export interface InputOptions {
  readonly compression: Compression
  readonly encoding: Encoding | 'auto'
  /** The file may grow. */
  readonly grows: boolean
}

/** Takes ownership of the handle. */
export async function openInput(handle: FileHandle, path: string, { compression, encoding, grows }: InputOptions): Promise<Input> {
  const bytes = compression === 'none' ? plain(handle) : decompressed(handle, path, compression)
  try {
    const known = encoding === 'auto' ? (byteOrderMark(await bytes.read(0, 3)) ?? 'utf-8') : encoding
    return known === 'utf-8' ? bytes : transcoded(bytes, known, grows)
  } catch (error) {
    await bytes.close()
    throw error
  }
}

function plain(handle: FileHandle): Input {
  return {
    seekable: true,
    async read(at, size) {
      const buffer = Buffer.allocUnsafe(size)
      const { bytesRead } = await handle.read(buffer, 0, size, at)
      return buffer.subarray(0, bytesRead)
    },
    close: () => handle.close(),
  }
}

/** Reads forward only; an earlier position is reached by starting again. */
abstract class Forward implements Input {
  readonly seekable = false
  /** Decoded bytes that have not been read yet. */
  private ready: Buffer = Buffer.alloc(0)
  /** Position of the first of them. */
  private at = 0

  protected abstract restart(): Promise<void>
  /** Undefined: no more bytes now. */
  protected abstract more(): Promise<Buffer | undefined>
  abstract close(): Promise<void>

  async read(at: number, size: number): Promise<Buffer> {
    if (at < this.at) {
      this.ready = Buffer.alloc(0)
      this.at = 0
      await this.restart()
    }
    for (;;) {
      const skip = Math.min(at - this.at, this.ready.length)
      this.ready = this.ready.subarray(skip)
      this.at += skip
      if (this.at === at && this.ready.length >= size) break
      const chunk = await this.more()
      if (chunk === undefined) break
      this.ready = this.ready.length === 0 ? chunk : Buffer.concat([this.ready, chunk])
    }
    // Keeps the bytes, so that the next read after the check starts again with them.
    return this.at === at ? this.ready.subarray(0, size) : Buffer.alloc(0)
  }
}

function decompressed(handle: FileHandle, path: string, kind: 'gzip' | 'zstd'): Input {
  let bytes: AsyncIterator<Buffer> | undefined
  let done = false
  class Decompressed extends Forward {
    protected async restart(): Promise<void> {
      await bytes?.return?.()
      bytes = undefined
      done = false
    }
    protected async more(): Promise<Buffer | undefined> {
      if (done) return undefined
      bytes ??= start()[Symbol.asyncIterator]() as AsyncIterator<Buffer>
      try {
        const next = await bytes.next()
        done = next.done === true
        return done ? undefined : next.value
      } catch (error) {
        throw new EnvironmentError(`can't read ${path} as ${kind}: ${reasonOf(error)}`, error)
      }
    }
    async close(): Promise<void> {
      await bytes?.return?.()
      await handle.close()
    }
  }
  function start(): NodeJS.ReadableStream {
    const source = handle.createReadStream({ start: 0, autoClose: false })
    const target = kind === 'gzip' ? createGunzip() : createZstdDecompress()
    source.once('error', error => target.destroy(error))
    return source.pipe(target)
  }
  return new Decompressed()
}

const CHUNK = 256 * 1024

function transcoded(inner: Input, encoding: Encoding, grows: boolean): Input {
  let transcoder = new Transcoder(encoding)
  let at = 0
  class Transcoded extends Forward {
    protected async restart(): Promise<void> {
      transcoder = new Transcoder(encoding)
      at = 0
    }
    protected async more(): Promise<Buffer | undefined> {
      const chunk = await inner.read(at, CHUNK)
      at += chunk.length
      if (chunk.length > 0) return transcoder.push(chunk)
      // The rest of an incomplete character at the end of a complete file.
      const rest = grows ? chunk : transcoder.end()
      return rest.length === 0 ? undefined : rest
    }
    close(): Promise<void> {
      return inner.close()
    }
  }
  return new Transcoded()
}
