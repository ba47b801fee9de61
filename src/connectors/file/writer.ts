/** Appends whole lines to a file: all of a write or nothing of it, and never behind a torn line. */
import { type FileHandle, open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ConnectionError, EnvironmentError, type Logger } from '../../contract/plugin.ts'
import { makeDirs } from '../../kit/make-dirs.ts'

export interface FileWriterOptions {
  readonly path: string
  /** Wait for the disk after every write. */
  readonly sync: boolean
  /** Is an unfinished last line a whole one all the same? */
  readonly isWhole: (line: string) => boolean
  readonly log: Logger
}

const LF = 10
const TAIL = 64 * 1024

export class FileWriter {
  private readonly options: FileWriterOptions
  private handle: FileHandle | undefined
  private length = 0
  /** A write has failed half-way: what it left behind has to go first. */
  private torn = false
  /** A pipe or a device can be neither repaired nor synced. */
  private regular = true
  private queue: Promise<unknown> = Promise.resolve()

  constructor(options: FileWriterOptions) {
    this.options = options
  }

  /** @throws {EnvironmentError} when the file cannot be written. */
  async open(): Promise<void> {
    const { path } = this.options
    try {
      makeDirs(dirname(path))
      this.regular = (await stat(path).catch(() => undefined))?.isFile() ?? true
      this.handle = await open(path, this.regular ? 'a+' : 'a')
      this.length = this.regular ? (await this.handle.stat()).size : 0
    } catch (error) {
      throw new EnvironmentError(`can't write ${path}: ${(error as Error).message}`, error)
    }
    if (this.regular) await this.repair()
  }

  get empty(): boolean {
    return this.length === 0
  }

  /** The first line, if there is one. */
  async firstLine(): Promise<string | undefined> {
    if (this.length === 0) return undefined
    const text = (await this.read(0, Math.min(TAIL, this.length))).toString()
    const end = text.indexOf('\n')
    return (end < 0 ? text : text.slice(0, end)).replace(/\r$/, '')
  }

  /**
   * One write at a time, in the order of the calls; `lines` makes its bytes when its turn comes.
   * @throws {ConnectionError} when the disk refuses: nothing of them is in the file then.
   */
  write(lines: () => Buffer): Promise<void> {
    const turn = this.queue.then(() => this.append(lines()))
    this.queue = turn.catch(() => {})
    return turn
  }

  async close(): Promise<void> {
    await this.queue
    const { handle } = this
    this.handle = undefined
    await handle?.close()
  }

  private async append(bytes: Buffer): Promise<void> {
    const { path, sync } = this.options
    try {
      if (this.torn && this.regular) await this.handle!.truncate(this.length)
      this.torn = true
      for (let at = 0; at < bytes.length; ) at += (await this.handle!.write(bytes, at)).bytesWritten
      if (sync && this.regular) await this.handle!.datasync()
      this.torn = false
      this.length += bytes.length
    } catch (error) {
      throw new ConnectionError(`writing ${path} failed: ${(error as Error).message}`, error)
    }
  }

  /** A crash may have cut the last line short. Its messages were never acknowledged, so they come again. */
  private async repair(): Promise<void> {
    let start = this.length
    let tail = Buffer.alloc(0)
    while (start > 0 && tail.lastIndexOf(LF) < 0) {
      const size = Math.min(TAIL, start)
      start -= size
      tail = Buffer.concat([await this.read(start, size), tail])
    }
    const line = tail.subarray(tail.lastIndexOf(LF) + 1)
    if (line.length === 0) return
    const { path, log, isWhole } = this.options
    if (isWhole(line.toString())) {
      await this.append(Buffer.from('\n'))
      return
    }
    log.warn({ file: path, bytes: line.length, text: line.toString('utf8', 0, 200) }, 'the last line was cut short: removing it')
    this.length -= line.length
    await this.handle!.truncate(this.length)
  }

  private async read(at: number, size: number): Promise<Buffer> {
    const buffer = Buffer.alloc(size)
    const { bytesRead } = await this.handle!.read(buffer, 0, size, at)
    return buffer.subarray(0, bytesRead)
  }
}
