/**
 * One file as a lane: reads it in chunks, knows where it is, and follows it through rotations.
 *
 * A followed file is read to its end before what came after it. After a *rename* the old file stays open until it has not grown for
 * `rotate_wait`: its writer may not have noticed yet. A *truncation* shows when the bytes before the position are no longer there; the
 * rest of what was in the file is then in the copy beside it. After a restart the file of the checkpoint is looked for under the names
 * that rotations give (`rotation.ts`), and read on from there. What cannot be found is logged and counted. It is one state machine: to
 * cut the file in two would spread its states over both.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { type Batch, DecodeError, EnvironmentError, type Logger, type Message, type Metrics, type Position } from '../../contract/plugin.ts'
import type { Encoding } from '../../kit/lines/encoding.ts'
import { type Compression, compressionOf, type Input, openInput } from './input.ts'
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

export interface FileLaneOptions extends RecordOptions {
  readonly path: string
  readonly follow: boolean
  /** ms that a renamed file must not have grown before the next one is read. */
  readonly rotate_wait: number
  readonly compression: Compression | 'auto'
  readonly source: string
  readonly log: Logger
  readonly metrics: Metrics
}

/** Where to read on: behind `line` lines and `byte` bytes of the file that the trace describes. */
interface FilePosition extends Trace {
  readonly line: number
  /** Lines end with CR. */
  readonly cr?: true
  /** It is the copy that a rotation made before it truncated the file. */
  readonly copy?: true
  /** How often the file at this path has been read from its beginning again. */
  readonly times?: number
  readonly generation?: string
}

/** The file that is being read. */
interface Current {
  readonly input: Input
  /** The input's. */
  readonly handle: FileHandle
  readonly found: FoundFile
  /** `path`: the followed file. `renamed`: what was there before. `copy`: what a rotation has copied, which does not grow. */
  readonly role: 'path' | 'renamed' | 'copy'
}

const CHUNK = 256 * 1024
/** Bytes before the position that are read again, to see that they are still the same. */
const OVERLAP = 64
/** After so long a renamed file that still grows is reported, ms. */
const STILL_GROWING = 60_000

export class FileLane {
  readonly path: string
  /** Nothing more to read at the moment. */
  atEnd = false
  private readonly options: FileLaneOptions
  private readonly encoding: Encoding | 'auto'
  private records!: Records
  private current: Current | undefined
  /** The last `next` or `seek`: each begins when the one before has ended. */
  private turn: Promise<unknown> = Promise.resolve()
  private readAt = 0
  /** The first bytes of the current file, and the last ones before `readAt`. */
  private head: Buffer = Buffer.alloc(0)
  private recent: Buffer = Buffer.alloc(0)
  private from: FilePosition | undefined
  /** The first file opened: where a lane without a checkpoint goes back to, although it was rotated meanwhile. */
  private first: FilePosition | undefined
  private times = 0
  /** The files that were read last, under whatever name. */
  private done: FileFacts[] = []
  /** The writer of a truncated file may not have gone back to its beginning: what it left out reads as NUL bytes. */
  private skipNul = false
  /** Of a renamed file: its size when last looked at, and since when; and whether it was reported. */
  private growth = { size: -1, since: 0, renamed: 0, reported: false }

  constructor(options: FileLaneOptions) {
    this.options = options
    this.path = options.path
    this.encoding = options.encoding ?? 'auto'
  }

  /**
   * The next `next` starts here; undefined: at the beginning. The runtime may go back while it waits for `next`: that one ends first, and
   * what it has read has reached the runtime, which drops it, when this resolves.
   */
  seek(position: Position | undefined): Promise<void> {
    return this.inTurn(async () => {
      await new Promise(resolve => setImmediate(resolve))
      await this.close()
      // What was read behind the position is read again.
      this.done = []
      this.from = (position as FilePosition | undefined) ?? this.first
      this.times = this.from?.times ?? 0
      this.atEnd = false
    })
  }

  /** Messages of the next chunk, `time` being when it was read; undefined: there are none now (`atEnd`). */
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
      if (this.readAt === 0 && this.options.follow) await this.missed()
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
   * Nothing of the file was read yet: it may have been filled, copied and truncated since it was last looked at. `found.facts` is that last
   * look; it is replaced here only, by one taken before the copies are listed, so that no copy falls between two looks.
   */
  private async missed(): Promise<void> {
    const { found, role, handle, input } = this.current!
    if (role !== 'path') return
    const now = toFacts(await handle.stat({ bigint: true }))
    if (now.written === found.facts.written && now.size === found.facts.size) return
    let { written } = now
    for (const copy of await copiesSince(this.path, found.facts, this.done)) {
      const opened = await openFound(copy, this.encoding)
      // Renamed since it was listed.
      if (!opened) return this.missed()
      const first = await opened.input.read(0, MARK)
      // Copied, and not truncated yet: it has the same content as the file.
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
      // A record longer than what is kept: the beginning has to do.
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

  /** Undefined: the file no longer has the bytes before the position. */
  private async chunk(): Promise<Buffer | undefined> {
    const { input, role } = this.current!
    const checked = this.options.follow && role === 'path' && input.seekable ? Math.min(OVERLAP, this.recent.length, this.readAt) : 0
    const bytes = await input.read(this.readAt - checked, CHUNK + checked)
    if (checked === 0) return bytes
    if (bytes.length < checked || !bytes.subarray(0, checked).equals(this.recent.subarray(-checked))) return undefined
    return bytes.subarray(checked)
  }

  /** False: a followed file is not there yet. */
  private async open(): Promise<boolean> {
    const { follow, log } = this.options
    const { from, path } = this
    if (from && follow) {
      const again = await findAgain(path, from, this.encoding)
      if (again?.isPath) await again.opened.input.close()
      else if (again) {
        const { found, opened } = again
        log.info({ file: path, now: found.path, line: from.line }, 'the file was rotated: reading its rest under its new name')
        // Where the inode stayed, or is not that of the content, the content was copied and truncated.
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
    try {
      handle = await open(path, 'r')
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      this.atEnd = true
      if (code === 'ENOENT' && options.follow) return false
      throw new EnvironmentError(`can't read ${path}: ${code === 'ENOENT' ? 'there is no such file' : (error as Error).message}`, error)
    }
    const info = await handle.stat({ bigint: true })
    if (info.isDirectory()) {
      await handle.close()
      throw new EnvironmentError(`can't read ${path}: it is a directory`)
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
        options.log.info({ file: path, line: from.line }, 'the file was read to its end before; `runner run --fresh` reads it again')
    } else await this.missing(from)
    return true
  }

  /** Begins with a file, at its beginning. */
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

  /** The file at the path is another one than that of the checkpoint, which is nowhere to be found. */
  private async missing(from: FilePosition): Promise<void> {
    const { path, options, encoding } = this
    const facts = this.current!.found.facts
    this.times = (from.times ?? 0) + 1
    // Of copies those that were made after the last read; they are all younger than the file itself.
    const copies = isSame(facts, from)
    const after = { ino: from.ino ?? '', born: copies ? 0 : (from.born ?? 0), written: from.written ?? Infinity }
    const next = options.follow ? await successor(path, after, false) : undefined
    if (options.follow) this.gap()
    options.log.warn(
      { file: path, position: from.byte, line: from.line, size: facts.size },
      options.follow
        ? 'the file is another one than at the checkpoint, and the former one was not found beside it: its lines after this one, if any, are not read'
        : 'the file is another one than at the checkpoint: reading it from its beginning',
    )
    const opened = next && (await openFound(next, encoding))
    if (next && opened) {
      await this.close()
      this.use({ ...opened, found: next, role: copies ? 'copy' : 'renamed' })
    } else this.use(this.current!)
  }

  /**
   * At the end of the bytes. Of a file that is not followed: the unfinished last line. Of one that is: whether another has taken its place.
   * @returns messages of the last line, none when there may be more to read now, undefined: when there is nothing to read now.
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
      // Gone is not replaced: between a rename and the new file there is a moment without one.
      this.atEnd = true
      return undefined
    }
    this.atEnd = false
    if (!(await this.quiet(time))) return undefined
    const messages = this.records.end(time)
    return messages.length > 0 ? messages : await this.advance(false)
  }

  /** Has the renamed file not grown for long enough? */
  private async quiet(time: number): Promise<boolean> {
    const { growth, options } = this
    const facts = await this.facts()
    if (growth.size !== facts.size) this.growth = { ...growth, size: facts.size, since: time, renamed: growth.renamed || time }
    if (time - this.growth.since >= options.rotate_wait || time - facts.written >= options.rotate_wait) return true
    if (!this.growth.reported && time - this.growth.renamed >= STILL_GROWING) {
      this.growth.reported = true
      options.log.warn(
        { file: this.path, since: this.growth.renamed },
        'the file was renamed, and is still written to: the new one is read once that ends. See that its writer opens the new file.',
      )
    }
    return false
  }

  /** Facts of the current file as it is now. */
  private async facts(): Promise<FileFacts> {
    const { handle, found } = this.current!
    return found.compression === 'none' ? toFacts(await handle.stat({ bigint: true })) : found.facts
  }

  /** To the file that came after this one. `joined`: an unfinished line goes on in it. */
  private async advance(joined: boolean): Promise<Message[] | undefined> {
    const { path, options, encoding } = this
    const { found, role } = this.current!
    // A copy is younger than the file it was made of, which may have been renamed since.
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
      const handle = await open(path, 'r').catch(() => undefined)
      if (!handle) return undefined
      await this.close()
      const facts = toFacts(await handle.stat({ bigint: true }))
      // The last look at what a copy was made of is the copy.
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

  /** The file was cut short, or written anew, since the last read. The rest of what was in it is in the copy, if there is one. */
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
    this.gap()
    options.log.warn(
      { file: path, position: this.readAt, line: records.position.line },
      'the file was truncated, and no copy of it was found: lines written between the last read and the truncation, if any, are lost. Reading it from its beginning.',
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

  /** Position for a line that was cut off by a truncation. */
  private lost: Position = null

  /** What identifies the bytes read so far, all of them. */
  private trace(): Trace {
    const length = Math.min(MARK, this.readAt)
    return {
      byte: this.readAt,
      head: crc32(this.head.subarray(0, length)),
      ...(this.recent.length >= length && { tail: crc32(this.recent.subarray(this.recent.length - length)) }),
    }
  }

  private gap(): void {
    this.options.metrics
      .counter('file_gaps_total', 'Rotations after which the rest of the former file was not found', { file: this.path }, 'file_gaps')
      .inc()
  }
}
