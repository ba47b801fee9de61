/** Appends whole lines to a file, as its only writer: all lines of a write or none, and never after a torn line. */
import { constants, lstatSync, realpathSync } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { ConnectionError, DataError, EnvironmentError, type Logger } from '../../contract/plugin.ts'
import { makeDirs } from '../../kit/make-dirs.ts'
import { type FileClaim, claimFile } from '../../kit/claim-file.ts'
import { reasonOf } from '../../kit/system-error.ts'

export interface FileWriterOptions {
  readonly path: string
  /** Sync to disk after every write. */
  readonly sync: boolean
  /** @returns whether an unfinished last line is complete anyway. */
  readonly isWhole: (line: string) => boolean
  /** The path comes from a message: the file must be in this folder, and no link may lead out of it. */
  readonly within?: string
  /** The step, for the error of a second writer. */
  readonly writer: string
  readonly log: Logger
}

const LF = 10
const TAIL = 64 * 1024

export class FileWriter {
  private readonly options: FileWriterOptions
  private handle: FileHandle | undefined
  private claim: FileClaim | undefined
  private length = 0
  /** A write failed halfway: its remains must be removed first. */
  torn = false
  /** A pipe or a device can be neither repaired nor synced. */
  private regular = true
  private queue: Promise<unknown> = Promise.resolve()

  constructor(options: FileWriterOptions) {
    this.options = options
  }

  /** @throws {EnvironmentError} when the file cannot be written; {DataError} when it is not `within` its folder. */
  async open(): Promise<void> {
    const { path, within } = this.options
    try {
      if (within === undefined) makeDirs(dirname(path))
      else makeDirsWithin(within, path)
      this.regular = (await stat(path).catch(() => undefined))?.isFile() ?? true
      if (within !== undefined && !this.regular) throw new DataError(`${path} is not a file`)
      const flags = constants.O_APPEND | constants.O_CREAT | (this.regular ? constants.O_RDWR : constants.O_WRONLY)
      this.handle = await open(path, within === undefined ? flags : flags | (constants.O_NOFOLLOW ?? 0), 0o666)
    } catch (error) {
      if (error instanceof DataError) throw error
      throw new EnvironmentError(`can't write ${path}: ${reasonOf(error)}`, error)
    }
    if (!this.regular) return
    try {
      this.claim = await claimFile(path, this.options.writer, this.options.log)
      // Not before: a former writer may have appended until it released the file.
      this.length = (await this.handle.stat()).size
      await this.repair()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  get empty(): boolean {
    return this.length === 0
  }

  /** The first line, if any. */
  async firstLine(): Promise<string | undefined> {
    if (this.length === 0) return undefined
    const text = (await this.read(0, Math.min(TAIL, this.length))).toString()
    const end = text.indexOf('\n')
    return (end < 0 ? text : text.slice(0, end)).replace(/\r$/, '')
  }

  /**
   * One write at a time, in the order of the calls; `lines` builds the bytes when its turn comes.
   * @throws {ConnectionError} when the write fails: then the file has none of them.
   */
  write(lines: () => Buffer): Promise<void> {
    const turn = this.queue.then(() => this.append(lines()))
    this.queue = turn.catch(() => {})
    return turn
  }

  close(): Promise<void> {
    const closed = this.end()
    this.claim?.closing(closed)
    return closed
  }

  private async end(): Promise<void> {
    await this.queue
    const { handle, claim: own } = this
    this.handle = undefined
    this.claim = undefined
    try {
      await handle?.close()
    } finally {
      own?.release()
    }
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
      throw new ConnectionError(`writing ${path} failed: ${reasonOf(error)}`, error)
    }
  }

  /** A crash may have cut the last line short. Its messages were not acknowledged, so they are delivered again. */
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
    log.warn({ file: path, bytes: line.length, text: line.toString('utf8', 0, 200) }, 'removed the incomplete last line')
    this.length -= line.length
    await this.handle!.truncate(this.length)
  }

  private async read(at: number, size: number): Promise<Buffer> {
    const buffer = Buffer.alloc(size)
    const { bytesRead } = await this.handle!.read(buffer, 0, size, at)
    return buffer.subarray(0, bytesRead)
  }
}

/** Creates the folders of `path` below `base`, none of them through a link that leads out of it. @throws {DataError} for such a link. */
function makeDirsWithin(base: string, path: string): void {
  makeDirs(base)
  const root = realpathSync(base)
  let folder = base
  for (const name of relative(base, dirname(path)).split(sep)) {
    if (name === '') continue
    folder = join(folder, name)
    if (lstatSync(folder, { throwIfNoEntry: false }) === undefined) makeDirs(folder)
    const real = realpathSync(folder)
    if (real !== root && !real.startsWith(root.endsWith(sep) ? root : root + sep))
      throw new DataError(`${folder} is a link to a folder outside of ${base}; nothing is written there`)
  }
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink())
    throw new DataError(`${path} is a link; a path with placeholders does not follow links`)
}
