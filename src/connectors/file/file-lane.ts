/**
 * One file as a lane: reads it in chunks, keeps its position, and follows it through rotations.
 * A followed file is read to its end before the next one. After a *rename* the old file stays open until it has not grown for
 * `rotate_wait`, because its writer may not have noticed the rename yet. A *truncation* is detected when the bytes before the position are
 * gone; the rest of the old content is then in the copy beside the file. After a restart, the file of the checkpoint is searched under the
 * names that rotations give (`rotation.ts`), and reading continues there. A file that is not found is a gap. This is one state machine:
 * splitting it would spread its states over two files.
 */
import type { FileHandle } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import {
  type Batch,
  DecodeError,
  EnvironmentError,
  type Gap,
  type Logger,
  type Message,
  type Metrics,
  type Position,
} from '../../contract/plugin.ts'
import type { Encoding } from '../../kit/lines/encoding.ts'
import { type Compression, compressionOf, type Input, openInput } from './input.ts'
import { NotRead, openFile } from './open.ts'
import { type RecordOptions, Records } from '../../kit/lines/records.ts'
import {
  copiesSince,
  type FileFacts,
  factsOf,
  findAgain,
  type FoundFile,
  isSame,
  MARK,
  matches,
  openFound,
  successor,
  toFacts,
  type Trace,
} from './rotation.ts'
import { reasonOf } from '../../kit/system-error.ts'

export interface FileLaneOptions extends RecordOptions {
  readonly path: string
  /** The folder of a pattern that this file matches. */
  readonly base?: string
  readonly follow: boolean
  /** How long a renamed file must not have grown before the next one is read, ms. */
  readonly rotate_wait: number
  readonly compression: Compression | 'auto'
  readonly source: string
  readonly log: Logger
  readonly metrics: Metrics
}

/** Where to continue: after `line` lines and `byte` bytes of the file that the trace describes. */
interface FilePosition extends Trace {
  readonly line: number
  /** Lines end with CR. */
  readonly cr?: true
  /** The file is the copy that a rotation made before it truncated the original. */
  readonly copy?: true
  /** How often the file at this path has been read again from its beginning. */
  readonly times?: number
  readonly generation?: string
}

/** The file that is being read. */
interface Current {
  readonly input: Input
  /** Belongs to the input. */
  readonly handle: FileHandle
  readonly found: FoundFile
  /** `path`: the followed file. `renamed`: the former file at the path. `copy`: the copy made by a rotation, which does not grow. */
  readonly role: 'path' | 'renamed' | 'copy'
}

const CHUNK = 256 * 1024
/** A renamed file that still grows after this time is reported, ms. */
const STILL_GROWING = 60_000

export class FileLane {
  readonly path: string
  /** Nothing more to read now. */
  atEnd = false
  private readonly options: FileLaneOptions
  private readonly encoding: Encoding | 'auto'
  private records!: Records
  private current: Current | undefined
  /** The last `next` or `seek`: each starts when the previous one has ended. */
  private turn: Promise<unknown> = Promise.resolve()
  private readAt = 0
  /** The first bytes of the current file, and the last ones before `readAt`. */
  private head: Buffer = Buffer.alloc(0)
  private recent: Buffer = Buffer.alloc(0)
  private from: FilePosition | undefined
  /** The first file opened: a lane without a checkpoint returns to it, even after a rotation. */
  private first: FilePosition | undefined
  private times = 0
  /** Not yet reported. */
  private missed: Gap | undefined
  /** It was logged that the file is not read. */
  private skipped = false
  /** The files that were read last, under their present names. */
  private done: FileFacts[] = []
  /** The writer of a truncated file may not return to the beginning: the bytes it skipped read as NUL. */
  private skipNul = false
  /** Of a renamed file: its size at the last check, since when it has had that size, and whether it was reported. */
  private growth = { size: -1, since: 0, renamed: 0, reported: false }

  constructor(options: FileLaneOptions) {
    this.options = options
    this.path = options.path
    this.encoding = options.encoding ?? 'auto'
  }

  /**
   * The next `next` starts here; undefined: at the beginning. The runtime may seek while it waits for `next`: that call ends first, and the
   * runtime has dropped its messages when this promise resolves.
   */
  seek(position: Position | undefined): Promise<void> {
    return this.inTurn(async () => {
      await new Promise(resolve => setImmediate(resolve))
      await this.close()
      // Bytes read past the position are read again.
      this.done = []
      this.from = (position as FilePosition | undefined) ?? this.first
      this.times = this.from?.times ?? 0
      this.missed = undefined
      this.atEnd = false
    })
  }

  /** Messages of the next chunk, read at `time`; undefined: none available now (`atEnd`). */
  next(time: number): Promise<Batch | undefined> {
    return this.inTurn(() => this.read(time))
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.turn.then(work)
    this.turn = done.catch(() => {})
    return done
  }

  private async read(time: number): Promise<Batch | undefined> {
    if (!this.current && !(await this.open())) return undefined
    for (;;) {
      // Truncated, and removed before it was opened again.
      if (!this.current) return undefined
      const gap = this.missed
      this.missed = undefined
      // At once: silence could close windows that lack the lines.
      if (gap) return { ...this.batch([]), gap }
      if (this.readAt === 0 && this.options.follow) await this.copied()
      const chunk = await this.chunk()
      if (chunk === undefined) {
        const messages = await this.truncated(time)
        if (messages.length > 0) return { lane: this.path, messages, position: this.lost }
        continue
      }
      if (chunk.length > 0) {
        const messages = this.take(chunk, time)
        if (messages.length > 0) return this.batch(messages)
        continue
      }
      const messages = await this.end(time)
      if (messages === undefined) return undefined
      if (messages.length > 0) return this.batch(messages)
    }
  }

  async close(): Promise<void> {
    const { current } = this
    this.current = undefined
    await current?.input.close()
  }

  private take(chunk: Buffer, time: number): Message[] {
    this.atEnd = false
    const at = this.readAt
    this.growth.since = time
    this.readAt += chunk.length
    if (this.head.length < MARK) this.head = Buffer.concat([this.head, chunk.subarray(0, MARK - this.head.length)])
    this.recent = Buffer.concat([this.recent.subarray(-MARK), chunk])
    if (!this.skipNul) return this.records.push(chunk, time)
    const start = chunk.findIndex(b => b !== 0)
    if (start < 0) return []
    this.skipNul = false
    if (start > 0) this.records.continueAt(at + start, 0)
    return this.records.push(chunk.subarray(start), time)
  }

  /**
   * Nothing of the file has been read yet: it may have been filled, copied and truncated since the last check. `found.facts` is that last
   * check. Only this place replaces it, with facts taken before the copies are listed, so that no copy is missed between two checks.
   */
  private async copied(): Promise<void> {
    const { found, role, handle, input } = this.current!
    if (role !== 'path') return
    const now = toFacts(await handle.stat({ bigint: true }))
    if (now.written === found.facts.written && now.size === found.facts.size) return
    let { written } = now
    for (const copy of await copiesSince(this.path, found.facts, this.done)) {
      const opened = await openFound(copy, this.encoding)
      // Renamed after it was listed.
      if (!opened) return this.copied()
      const first = await opened.input.read(0, MARK)
      // Copied but not truncated yet: the copy has the same content as the file.
      if (first.length > 0 && !(await input.read(0, first.length)).equals(first)) {
        await this.close()
        this.use({ ...opened, found: copy, role: 'copy' })
        this.options.log.info({ file: this.path, copy: copy.path }, 'the file was truncated: reading its copy')
        return
      }
      written = Math.min(written, copy.facts.written)
      await opened.input.close()
    }
    this.current = { ...this.current!, found: { ...found, facts: { ...now, written } } }
  }

  private batch(messages: Batch['messages']): Batch {
    return { lane: this.path, messages, position: { ...this.position() } }
  }

  private position(): FilePosition {
    const { byte, line, cr } = this.records.position
    const { facts } = this.current!.found
    const behind = this.recent.subarray(0, Math.max(0, this.recent.length - (this.readAt - byte)))
    const length = Math.min(MARK, byte)
    return {
      byte,
      line,
      head: crc32(this.head.subarray(0, length)),
      // A record longer than the bytes kept: the beginning of the file identifies it.
      ...(behind.length >= length && { tail: crc32(behind.subarray(behind.length - length)) }),
      ino: facts.ino,
      born: facts.born,
      written: facts.written,
      ...(cr && { cr }),
      ...(this.current!.role === 'copy' && { copy: true as const }),
      ...(this.times > 0 && { times: this.times }),
      ...(this.records.generation !== undefined && { generation: this.records.generation }),
    }
  }

  /**
   * Undefined: the file no longer has the bytes that identify it, its first ones and those before the position. Lines may all end with the
   * same text, and a rewritten file may have the same size: neither decides alone.
   */
  private async chunk(): Promise<Buffer | undefined> {
    const { input, role } = this.current!
    const checked = this.options.follow && role === 'path' && input.seekable ? Math.min(MARK, this.recent.length, this.readAt) : 0
    const bytes = await input.read(this.readAt - checked, CHUNK + checked)
    if (checked === 0) return bytes
    if (bytes.length < checked || !bytes.subarray(0, checked).equals(this.recent.subarray(-checked))) return undefined
    // After the chunk: a truncation between the two reads is then detected.
    if (this.readAt > checked && !(await input.read(0, this.head.length)).equals(this.head)) return undefined
    return bytes.subarray(checked)
  }

  /** False: a followed file does not exist yet. */
  private async open(): Promise<boolean> {
    const { follow, log } = this.options
    const { from, path } = this
    if (from && follow) {
      const again = await findAgain(path, from, this.encoding)
      if (again?.isPath) await again.opened.input.close()
      else if (again) {
        const { found, opened } = again
        log.info({ file: path, now: found.path, line: from.line }, 'the file was rotated: reading its rest under its new name')
        // If the inode is unchanged, or does not match the content, the content was copied and truncated.
        const here = await factsOf(path)
        const moved = found.compression === 'none' && !isSame(found.facts, from)
        const copied = from.copy === true || moved || (here !== undefined && isSame(here, from))
        this.use({ ...opened, found, role: copied ? 'copy' : 'renamed' })
        await this.resume(from)
        return true
      }
    }
    return await this.openPath()
  }

  private async openPath(): Promise<boolean> {
    const { path, from, options } = this
    let handle: FileHandle
    let info: Parameters<typeof toFacts>[0]
    try {
      ;({ handle, info } = await openFile(path, options.base))
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      this.atEnd = true
      if (code === 'ENOENT' && options.follow) return false
      const gone = code === 'ENOENT' || code === 'ENXIO'
      const why = code === 'ENOENT' ? 'the file does not exist' : code === 'ENXIO' ? 'it is not a regular file' : reasonOf(error)
      // Others decide what a pattern matches, and must not end the run with it.
      if (options.base !== undefined && (gone || error instanceof NotRead)) {
        if (!this.skipped) options.log.warn({ file: path, step: options.source }, `the file is skipped: ${why}`)
        this.skipped = true
        return false
      }
      throw new EnvironmentError(`can't read ${path}: ${why}${error instanceof NotRead ? '; set path to a file' : ''}`, error)
    }
    const facts = toFacts(info)
    const compression = compressionOf(options.compression, path)
    const input = await openInput(handle, path, { compression, encoding: this.encoding, grows: options.follow })
    this.use({ input, handle, found: { path, compression, facts }, role: 'path' })
    this.first ??= { byte: 0, line: 0, head: 0, ...facts }
    if (!from) return true
    this.from = undefined
    if (from.byte > 0 ? await matches(input, from) : isSame(from, facts)) {
      await this.resume(from)
      if (!options.follow && from.byte > 0 && compression === 'none' && from.byte >= facts.size)
        options.log.info({ file: path, line: from.line }, 'the file has already been read to its end; `runner run --fresh` reads it again')
    } else await this.missing(from)
    return true
  }

  /** Starts a file at its beginning. */
  private use(current: Current): void {
    const { options, path } = this
    this.current = current
    this.records = new Records(options, path, options.source, path)
    const { ino } = current.found.facts
    this.done = [...this.done.slice(-15), current.found.facts]
    const times = this.times
    this.records.identify = first => `${ino}.${times}-${crc32(first.subarray(0, MARK)).toString(36)}`
    this.readAt = 0
    this.head = this.recent = Buffer.alloc(0)
    this.skipNul = false
    this.growth = { size: -1, since: 0, renamed: 0, reported: false }
  }

  private async resume(from: FilePosition): Promise<void> {
    this.from = undefined
    const { input } = this.current!
    this.records.generation = from.generation
    if (from.byte === 0) return
    while (this.records.needsHeader) {
      const chunk = await input.read(this.readAt, 16 * 1024)
      if (chunk.length === 0) break
      this.readAt += chunk.length
      this.records.push(chunk, 0)
    }
    this.records.generation = from.generation
    this.records.restart(from.byte, from.line, from.cr)
    this.head = Buffer.from(await input.read(0, Math.min(MARK, from.byte)))
    this.recent = Buffer.from(await input.read(Math.max(0, from.byte - MARK), Math.min(MARK, from.byte)))
    this.readAt = from.byte
  }

  /** The file at the path is not the file of the checkpoint, which was not found. */
  private async missing(from: FilePosition): Promise<void> {
    const { path, options, encoding } = this
    const facts = this.current!.found.facts
    this.times = (from.times ?? 0) + 1
    // Of the copies, only those made after the last read; all of them are newer than the file itself.
    const copies = isSame(facts, from)
    const after = { ino: from.ino ?? '', born: copies ? 0 : (from.born ?? 0), written: from.written ?? Infinity }
    const next = options.follow ? await successor(path, after, false) : undefined
    this.gap(
      `the file ${path} was replaced since the checkpoint${options.follow ? ', and its rotated copy was not found' : ''}: ` +
        `lines of the former file after line ${from.line}, if any, are not read`,
    )
    const opened = next && (await openFound(next, encoding))
    if (next && opened) {
      await this.close()
      this.use({ ...opened, found: next, role: copies ? 'copy' : 'renamed' })
    } else this.use(this.current!)
  }

  /**
   * At the end of the bytes. Without `follow`: reads the unfinished last line. With `follow`: checks whether another file has replaced this
   * one.
   * @returns messages of the last line, none when there may be more to read now, undefined when there is nothing to read now.
   */
  private async end(time: number): Promise<Message[] | undefined> {
    const { current, options, path } = this
    if (!options.follow) {
      const messages = this.records.end(time)
      if (messages.length > 0) return messages
      this.atEnd = true
      return undefined
    }
    if (current!.role === 'copy') return await this.advance(true)
    const now = await factsOf(path)
    const { facts } = current!.found
    if (now === undefined || isSame(now, facts)) {
      if (now && now.size < facts.size && !current!.input.seekable) return await this.truncated(time)
      if (this.readAt > 0) this.current = { ...current!, found: { ...current!.found, facts: now ?? facts } }
      // A missing file is not yet replaced: between a rename and the creation of the new file the path does not exist.
      this.atEnd = true
      return undefined
    }
    this.atEnd = false
    if (!(await this.quiet(time))) return undefined
    const messages = this.records.end(time)
    return messages.length > 0 ? messages : await this.advance(false)
  }

  /** @returns whether the renamed file has not grown for long enough. */
  private async quiet(time: number): Promise<boolean> {
    const { growth, options } = this
    const facts = await this.facts()
    if (growth.size !== facts.size) this.growth = { ...growth, size: facts.size, since: time, renamed: growth.renamed || time }
    if (time - this.growth.since >= options.rotate_wait || time - facts.written >= options.rotate_wait) return true
    if (!this.growth.reported && time - this.growth.renamed >= STILL_GROWING) {
      this.growth.reported = true
      options.log.warn(
        { file: this.path, since: this.growth.renamed },
        'the renamed file is still being written to: the new file is read after that ends. Make the writer open the new file.',
      )
    }
    return false
  }

  /** Facts of the current file as it is now. */
  private async facts(): Promise<FileFacts> {
    const { handle, found } = this.current!
    return found.compression === 'none' ? toFacts(await handle.stat({ bigint: true })) : found.facts
  }

  /** Continues with the next file. `joined`: an unfinished line continues in it. */
  private async advance(joined: boolean): Promise<Message[] | undefined> {
    const { path, options, encoding } = this
    const { found, role } = this.current!
    // A copy is newer than its original, which may have been renamed since.
    const next = await successor(path, await this.facts(), found.compression !== 'none' || role === 'copy', this.done)
    const records = joined ? this.records : undefined
    if (next) {
      const opened = await openFound(next, encoding)
      if (!opened) return undefined
      await this.close()
      this.times++
      this.use({ ...opened, found: next, role: role === 'path' ? 'renamed' : role })
      options.log.info({ file: path, next: next.path }, 'the file was rotated: reading the next one')
    } else {
      const opened = await openFile(path, options.base).catch(() => undefined)
      if (!opened) return undefined
      await this.close()
      const { handle, info } = opened
      const facts = toFacts(info)
      // The last check of the original is the copy itself.
      const since = joined ? { ...facts, written: Math.min(facts.written, found.facts.written) } : facts
      this.times++
      const input = await openInput(handle, path, { compression: 'none', encoding, grows: true })
      this.use({ input, handle, found: { path, compression: 'none', facts: since }, role: 'path' })
      this.skipNul = joined
      options.log.info({ file: path }, 'the file was rotated: reading the new one')
    }
    options.metrics.counter('file_rotations_total', 'Rotations of a followed file', { file: path }).inc()
    if (records) {
      records.identify = this.records.identify
      records.generation = undefined
      records.continueAt(0, 0)
      this.records = records
    }
    return []
  }

  /** The file was truncated or rewritten since the last read. The rest of the old content is in the copy, if any. */
  private async truncated(time: number): Promise<Message[]> {
    const { path, options, encoding, records } = this
    const trace = this.trace()
    const copy = await findAgain(path, trace, encoding)
    if (copy?.isPath) await copy.opened.input.close()
    else if (copy) {
      options.log.info(
        { file: path, copy: copy.found.path, line: records.position.line },
        'the file was truncated: reading the rest of its copy',
      )
      const { head, recent, readAt } = this
      await this.close()
      this.use({ ...copy.opened, found: copy.found, role: 'copy' })
      this.records = records
      Object.assign(this, { head, recent, readAt })
      return []
    }
    this.gap(
      `the file ${path} was truncated, and its copy was not found: lines after line ${records.position.line} that were written between the last ` +
        'read and the truncation, if any, are lost',
    )
    this.lost = { ...this.position() }
    const messages = records.end(time)
    for (const m of messages) m.failure = new DecodeError('the file was truncated in the middle of this line')
    await this.close()
    this.times++
    await this.openPath()
    this.skipNul = true
    return messages
  }

  /** Position of a line that a truncation cut off. */
  private lost: Position = null

  /** Identifies all bytes read so far. */
  private trace(): Trace {
    const length = Math.min(MARK, this.readAt)
    return {
      byte: this.readAt,
      head: crc32(this.head.subarray(0, length)),
      ...(this.recent.length >= length && { tail: crc32(this.recent.subarray(this.recent.length - length)) }),
    }
  }

  private gap(reason: string): void {
    this.missed = { reason }
    if (!this.options.follow) return
    this.options.metrics
      .counter(
        'file_gaps_total',
        'Rotations whose former file was not found, so that its rest was not read',
        { file: this.path },
        'file_gaps',
      )
      .inc()
  }
}
