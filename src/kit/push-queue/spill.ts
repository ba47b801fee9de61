/**
 * Chunks of a push queue on disk: segment files, read in order and deleted when all their chunks are done. A process owns its directory by
 * a lock that ends with it, and takes over the directories of dead processes.
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { basename, join } from 'node:path'
import { crc32 } from 'node:zlib'
import { EnvironmentError } from '../../contract/plugin.ts'
import { type FileLock, tryLock } from '../sqlite/file-lock.ts'
import { Chunk } from './chunk.ts'

/** A segment above this size is closed: records are deleted by segments. */
const SEGMENT_BYTES = 8 * 1024 * 1024
const MAGIC = 0x31515052
/** magic, bytes, records, crc of the bytes, first record's number */
const HEADER = 4 + 4 + 4 + 4 + 8
const MAX_SLOTS = 64

class Segment {
  path: string
  fd: number | undefined
  size = 0
  /** Chunks not yet done. */
  live = 0
  constructor(path: string) {
    this.path = path
  }
}

export class Spill {
  /** Bytes of chunks that are on disk and not done. */
  bytes = 0
  private readonly base: string
  private dir: string | undefined
  private lock: FileLock | undefined
  private writing: Segment | undefined
  private readonly segments = new Set<Segment>()
  private names = 0

  /** `base` is shared by all processes that run the same step; nothing is created before it is needed. */
  constructor(base: string) {
    this.base = base
  }

  /** Takes over the directories of dead processes: chunks in order, and the number after the last record that was done. */
  recover(): { chunks: Chunk[]; done: number } {
    if (!existsSync(this.base)) return { chunks: [], done: 0 }
    this.own()
    const own = this.collect(this.dir!)
    for (const name of readdirSync(this.base)) if (join(this.base, name) !== this.dir) this.adopt(join(this.base, name), own)
    return own
  }

  /** @throws the error of the file system; the chunk is unchanged then. */
  write(chunk: Chunk): void {
    this.own()
    let segment = this.writing
    if (segment === undefined || segment.size >= SEGMENT_BYTES) {
      this.closeWriting()
      segment = new Segment(join(this.dir!, `${String(chunk.first).padStart(17, '0')}-${this.names++}.seg`))
      segment.fd = openSync(segment.path, 'wx', 0o600)
      this.segments.add(segment)
      this.writing = segment
    }
    const body = chunk.buf!.subarray(0, chunk.used)
    const header = Buffer.alloc(HEADER)
    header.writeUInt32LE(MAGIC, 0)
    header.writeUInt32LE(chunk.used, 4)
    header.writeUInt32LE(chunk.count, 8)
    header.writeUInt32LE(crc32(body), 12)
    header.writeDoubleLE(chunk.first, 16)
    writeAll(segment.fd!, header, segment.size)
    writeAll(segment.fd!, body, segment.size + HEADER)
    chunk.place = { file: segment, at: segment.size + HEADER }
    segment.size += HEADER + chunk.used
    segment.live++
    this.bytes += chunk.used
  }

  load(chunk: Chunk): Buffer {
    const { file, at } = chunk.place!
    const buf = Buffer.allocUnsafeSlow(chunk.used)
    const fd = openSync((file as Segment).path, 'r')
    try {
      if (readSync(fd, buf, 0, buf.length, at) !== buf.length) throw new EnvironmentError(`${(file as Segment).path} was truncated`)
    } finally {
      closeSync(fd)
    }
    return buf
  }

  /** The chunk's records are written elsewhere, or dropped. */
  forget(chunk: Chunk): void {
    const segment = chunk.place?.file as Segment | undefined
    if (segment === undefined) return
    chunk.place = undefined
    this.bytes -= chunk.used
    if (--segment.live > 0) return
    if (segment === this.writing) this.closeWriting()
    this.segments.delete(segment)
    rmSync(segment.path, { force: true })
  }

  get empty(): boolean {
    return this.segments.size === 0
  }

  /** Records before this one must not be delivered again after a crash. */
  markDone(seq: number): void {
    if (this.dir !== undefined) writeFileSync(join(this.dir, 'done'), String(seq), { mode: 0o600 })
  }

  close(): void {
    this.closeWriting()
    if (this.dir !== undefined && this.empty) rmSync(join(this.dir, 'done'), { force: true })
    this.lock?.release()
    this.lock = undefined
    this.dir = undefined
  }

  private closeWriting(): void {
    if (this.writing?.fd !== undefined) closeSync(this.writing.fd)
    this.writing = undefined
  }

  /** The first directory that is not owned by a running process. */
  private own(): void {
    if (this.dir !== undefined) return
    for (let n = 0; n < MAX_SLOTS; n++) {
      const dir = join(this.base, String(n))
      const lock = lockOf(dir)
      if (lock === undefined) continue
      this.dir = dir
      this.lock = lock
      return
    }
    throw new EnvironmentError(`${this.base}: more than ${MAX_SLOTS} processes spill here; give each its own state directory`)
  }

  /**
   * The records of another process join ours unless both ran at the same time: then their numbers overlap, and a later start takes them.
   */
  private adopt(dir: string, into: { chunks: Chunk[]; done: number }): void {
    if (!existsSync(join(dir, 'lock')) || !readdirSync(dir).some(isSegment)) return
    const lock = lockOf(dir)
    if (lock === undefined) return
    const before = this.bytes
    const { chunks, done } = this.collect(dir)
    const segments = new Set(chunks.map(c => c.place!.file as Segment))
    const apart = into.chunks.length === 0 || chunks.length === 0 || chunks[0].first >= into.chunks.at(-1)!.end
    if (apart) {
      for (const segment of segments) {
        const path = join(this.dir!, `${basename(segment.path, '.seg')}-${basename(dir)}.seg`)
        renameSync(segment.path, path)
        segment.path = path
      }
      into.chunks.push(...chunks)
      into.done = Math.max(into.done, Math.min(done, chunks[0]?.end ?? 0))
    } else {
      this.bytes = before
      for (const segment of segments) this.segments.delete(segment)
    }
    lock.release()
  }

  /** The remaining chunks of a directory, without those that are done. */
  private collect(dir: string): { chunks: Chunk[]; done: number } {
    const done = readDone(dir)
    const chunks: Chunk[] = []
    for (const name of readdirSync(dir).filter(isSegment)) {
      this.names++
      const segment = new Segment(join(dir, name))
      for (const chunk of this.scan(segment, done)) chunks.push(chunk)
      if (segment.live === 0) rmSync(segment.path, { force: true })
      else this.segments.add(segment)
    }
    return { chunks: chunks.toSorted((a, b) => a.first - b.first), done }
  }

  /** Complete chunks of a file; a chunk that a crash truncated at the end is left out. */
  private scan(segment: Segment, done: number): Chunk[] {
    const data = readFileSync(segment.path)
    const chunks: Chunk[] = []
    let at = 0
    while (at + HEADER <= data.length && data.readUInt32LE(at) === MAGIC) {
      const used = data.readUInt32LE(at + 4)
      const body = data.subarray(at + HEADER, at + HEADER + used)
      if (body.length < used || crc32(body) !== data.readUInt32LE(at + 12)) break
      const chunk = new Chunk(data.readDoubleLE(at + 16), undefined, used, data.readUInt32LE(at + 8))
      at += HEADER + used
      if (chunk.end <= done) continue
      chunk.place = { file: segment, at: at - used }
      chunks.push(chunk)
      segment.live++
      this.bytes += used
    }
    segment.size = at
    return chunks
  }
}

const isSegment = (name: string): boolean => name.endsWith('.seg')

function readDone(dir: string): number {
  try {
    return Number(readFileSync(join(dir, 'done'), 'utf8')) || 0
  } catch {
    return 0
  }
}

function writeAll(fd: number, bytes: Buffer, at: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, at + done)
}

/** Undefined: another process has it, or it is not ours to lock. */
function lockOf(dir: string): FileLock | undefined {
  try {
    return tryLock(join(dir, 'lock'))
  } catch {
    return undefined
  }
}
