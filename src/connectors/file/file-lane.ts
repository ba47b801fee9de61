/** One file as a lane: reads it in chunks, knows where it is, and notices when the file is another one now. */
import { type FileHandle, open, stat } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { type Batch, EnvironmentError, type Logger, type Position } from '../../contract/plugin.ts'
import { type RecordOptions, Records } from '../../kit/lines/records.ts'

export interface FileLaneOptions extends RecordOptions {
  readonly path: string
  readonly follow: boolean
  readonly source: string
  readonly log: Logger
}

/** Where to read on: behind `line` lines and `byte` bytes of the file whose first bytes have this checksum. */
interface FilePosition {
  readonly byte: number
  readonly line: number
  readonly head: number
}

const CHUNK = 256 * 1024
/** Bytes by which a file is known again: the first ones, or as many as have been read. */
const HEAD = 1024

export class FileLane {
  readonly path: string
  /** Nothing more to read at the moment. */
  atEnd = false
  private readonly options: FileLaneOptions
  private records!: Records
  private handle: FileHandle | undefined
  private readAt = 0
  private head: Buffer = Buffer.alloc(0)
  private from: FilePosition | undefined

  constructor(options: FileLaneOptions) {
    this.options = options
    this.path = options.path
  }

  /** The next `next` starts here; undefined: at the beginning. */
  async seek(position: Position | undefined): Promise<void> {
    await this.close()
    this.from = position as FilePosition | undefined
    this.atEnd = false
  }

  /** Messages of the next chunk, `time` being when it was read; undefined: there are none now (`atEnd`). */
  async next(time: number): Promise<Batch | undefined> {
    if (!this.handle && !(await this.open())) return undefined
    for (;;) {
      const chunk = await this.read(this.readAt, CHUNK)
      if (chunk.length === 0) return await this.end(time)
      this.atEnd = false
      this.remember(chunk)
      this.readAt += chunk.length
      const messages = this.records.push(chunk, time)
      if (messages.length > 0) return this.batch(messages)
    }
  }

  async close(): Promise<void> {
    const { handle } = this
    this.handle = undefined
    await handle?.close()
  }

  private batch(messages: Batch['messages']): Batch {
    const { byte, line } = this.records.position
    const position: FilePosition = { byte, line, head: crc32(this.head.subarray(0, Math.min(HEAD, byte))) }
    return { lane: this.path, messages, position: { ...position } }
  }

  /** False: a followed file is not there yet. */
  private async open(): Promise<boolean> {
    const { path, follow } = this.options
    try {
      this.handle = await open(path, 'r')
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      this.atEnd = true
      if (code === 'ENOENT' && follow) return false
      throw new EnvironmentError(`can't read ${path}: ${code === 'ENOENT' ? 'there is no such file' : (error as Error).message}`, error)
    }
    const info = await this.handle.stat()
    if (info.isDirectory()) throw new EnvironmentError(`can't read ${path}: it is a directory`)
    this.rewind()
    if (this.from) await this.resume(this.from, info.size)
    return true
  }

  private rewind(): void {
    this.records = new Records(this.options, this.path, this.options.source, this.path)
    this.readAt = 0
    this.head = Buffer.alloc(0)
  }

  private async resume(from: FilePosition, size: number): Promise<void> {
    const head = await this.read(0, Math.min(HEAD, from.byte))
    if (size < from.byte || crc32(head) !== from.head) {
      this.options.log.warn(
        { file: this.path, position: from.byte, size },
        'the file is another one than at the checkpoint: reading it from its beginning',
      )
      return
    }
    this.head = head
    while (this.records.needsHeader) {
      const chunk = await this.read(this.readAt, 16 * 1024)
      if (chunk.length === 0) break
      this.readAt += chunk.length
      this.records.push(chunk, 0)
    }
    this.records.restart(from.byte, from.line)
    this.readAt = from.byte
  }

  /** At the end of the bytes: the unfinished last line, unless more of it may come; and when followed, whether another file has taken its place. */
  private async end(time: number): Promise<Batch | undefined> {
    if (!this.options.follow || (await this.replaced())) {
      const messages = this.records.end(time)
      if (messages.length > 0) return this.batch(messages)
      if (this.options.follow) {
        await this.seek(undefined)
        return await this.next(time)
      }
    }
    this.atEnd = true
    return undefined
  }

  private async replaced(): Promise<boolean> {
    const mine = await this.handle!.stat()
    if (mine.size < this.readAt) {
      this.options.log.warn({ file: this.path }, 'the file was truncated: reading it from its beginning')
      return true
    }
    const now = await stat(this.path).catch(() => undefined)
    // Gone is not replaced: between a rename and the new file there is a moment without one.
    return now !== undefined && (now.ino !== mine.ino || now.dev !== mine.dev)
  }

  private remember(chunk: Buffer): void {
    if (this.head.length < HEAD && this.readAt === this.head.length)
      this.head = Buffer.concat([this.head, chunk.subarray(0, HEAD - this.head.length)])
  }

  private async read(at: number, size: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(size)
    const { bytesRead } = await this.handle!.read(buffer, 0, size, at)
    return buffer.subarray(0, bytesRead)
  }
}
