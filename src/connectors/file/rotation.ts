/**
 * Finds the rest of a log file after a rotation. Two ways are common. *Rename*: `app.log` becomes `app.log.1`, a new `app.log` is created,
 * and the application may write to the renamed file for a while. *Copy and truncate*: `app.log` is copied to `app.log.1` and truncated to
 * zero bytes. Old files may be compressed later. A file is identified by its inode and by the bytes around the position read so far.
 */
import { type FileHandle, lstat, readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Encoding } from '../../kit/lines/encoding.ts'
import { type Compression, compressionOf, type Input, openInput } from './input.ts'
import { openFile } from './open.ts'

/** Number of bytes at the beginning, and before a position, that identify a file. */
export const MARK = 1024

/** How often the folder is listed again if a rotation changes it meanwhile. */
const RETRIES = 20

export interface FileFacts {
  readonly ino: string
  /** ms; 0: not reported by the file system. */
  readonly born: number
  /** Last write, ms. */
  readonly written: number
  readonly size: number
}

/** Identifies a file that has been read up to `byte`. */
export interface Trace {
  readonly byte: number
  /** CRC of its first bytes, at most `MARK`, and of the bytes before `byte`. */
  readonly head: number
  readonly tail?: number
  readonly ino?: string
  readonly born?: number
  readonly written?: number
}

export interface FoundFile {
  readonly path: string
  readonly compression: Compression
  readonly facts: FileFacts
}

/** The handle belongs to the input. */
export interface Opened {
  readonly input: Input
  readonly handle: FileHandle
}

/** Undefined: the file does not exist. */
export async function factsOf(path: string): Promise<FileFacts | undefined> {
  return stat(path, { bigint: true }).then(toFacts, () => undefined)
}

export function toFacts(s: { ino: bigint; birthtimeNs: bigint; mtimeNs: bigint; size: bigint }): FileFacts {
  return { ino: s.ino.toString(36), born: Number(s.birthtimeNs) / 1e6, written: Number(s.mtimeNs) / 1e6, size: Number(s.size) }
}

/** @returns whether the file still has the content that was read, up to that byte. */
export async function matches(input: Input, { byte, head, tail }: Trace): Promise<boolean> {
  const length = Math.min(MARK, byte)
  const first = await input.read(0, length)
  if (first.length < length || crc32(first) !== head) return false
  const last = await input.read(byte - length, length)
  return last.length === length && (tail === undefined || crc32(last) === tail)
}

/**
 * Files beside `path` that a rotation may have created from it: `app.log.1`, `app.log-20260131`, `app-20260131.log`, `app.log.old`, also
 * compressed.
 */
async function rotated(path: string): Promise<FoundFile[]> {
  let before = ''
  for (let n = 0; ; n++) {
    const files = await list(path)
    // A rotation in progress moves files from one name to the next during the listing.
    const now = files.map(f => `${f.path} ${f.facts.ino}`).join('\n')
    if (now === before || n === RETRIES) return files
    before = now
  }
}

/** The files as they are now. */
export async function list(path: string): Promise<FoundFile[]> {
  const folder = dirname(path)
  const name = basename(path)
  const dot = name.lastIndexOf('.')
  const [stem, extension] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, '']
  const names = new Set(await readdir(folder).catch(() => []))
  const found: FoundFile[] = []
  for (const other of names) {
    if (other === name) continue
    const plain = other.replace(/\.(gz|zst)$/i, '')
    // Compression in progress: the original is deleted only when the compressed file is complete.
    if (plain !== other && names.has(plain)) continue
    const added = plain.startsWith(name)
      ? plain.slice(name.length)
      : plain.startsWith(stem) && plain.endsWith(extension) && plain.length >= stem.length + extension.length
        ? plain.slice(stem.length, plain.length - extension.length)
        : undefined
    if (added === undefined || !/^[._-](\d[\d._T:-]*|old|bak)$/.test(added)) continue
    // A rotation makes regular files.
    const facts = await lstat(join(folder, other), { bigint: true }).then(
      s => (s.isFile() ? toFacts(s) : undefined),
      () => undefined,
    )
    if (facts) found.push({ path: join(folder, other), compression: compressionOf('auto', other), facts })
  }
  return found
}

/** Opens the file that was read up to `trace.byte`, under its present name. `isPath`: it is the file at `path` itself. */
export async function findAgain(
  path: string,
  trace: Trace,
  encoding: Encoding | 'auto',
): Promise<{ found: FoundFile; opened: Opened; isPath: boolean } | undefined> {
  for (let n = 0; n <= RETRIES; n++) {
    const facts = await factsOf(path)
    const here = facts && { path, compression: compressionOf('auto', path), facts }
    const others = (await rotated(path)).toSorted((a, b) => b.facts.written - a.facts.written)
    const all = here ? [here, ...others] : others
    const same = (f: FoundFile): boolean => isSame(f.facts, trace) && f.compression === 'none'
    let moved = false
    for (const found of [...all.filter(same), ...all.filter(f => !same(f))]) {
      // Nothing has been read yet: only the inode identifies the file.
      if (trace.byte === 0 && !same(found)) continue
      const opened = await openFound(found, encoding)
      if (!opened) moved = true
      else if (trace.byte === 0 || (await matches(opened.input, trace).catch(() => false))) return { found, opened, isPath: found === here }
      else await opened.input.close()
    }
    if (!moved) return undefined
  }
  return undefined
}

/** The oldest rotated file that came after this one and is not in `read`; undefined: only the file at `path` itself. */
export async function successor(
  path: string,
  after: Pick<FileFacts, 'ino' | 'born' | 'written'>,
  compressed: boolean,
  read: readonly FileFacts[] = [],
): Promise<FoundFile | undefined> {
  const all = await rotated(path)
  const others = all.filter(f => isSame(f.facts, after) || !read.some(r => r.born > 0 && isSame(r, f.facts)))
  const self = others.find(f => isSame(f.facts, after))
  const age = ({ facts, compression }: FoundFile): number =>
    !compressed && compression === 'none' && facts.born > 0 && after.born > 0 ? facts.born - after.born : facts.written - after.written
  return others
    .filter(f => f !== self && (age(f) > 0 || (age(f) === 0 && self !== undefined && byName(self.path, f.path) < 0)))
    .toSorted((a, b) => age(a) - age(b) || byName(a.path, b.path))[0]
}

/** The inode of a deleted file is used again. */
export const isSame = (a: { ino?: string; born?: number }, b: { ino?: string; born?: number }): boolean =>
  a.ino === b.ino && (!a.born || !b.born || a.born === b.born)

/**
 * Times are exact to a few milliseconds only. For files with the same time the names decide which is older: `.2` is older than `.1`, dates
 * are compared as dates.
 */
function byName(a: string, b: string): number {
  const [left, right] = [a, b].map(path => /(\d+)(\.gz|\.zst)?$/.exec(path)?.[1])
  if (left !== undefined && right !== undefined && left.length < 6 && right.length < 6) return Number(right) - Number(left)
  return a < b ? -1 : a > b ? 1 : 0
}

/** Unread copies of a file made since its last check, when it was empty; the oldest first. */
export async function copiesSince(path: string, file: FileFacts, read: readonly FileFacts[]): Promise<FoundFile[]> {
  const fresh = (await rotated(path)).filter(
    ({ facts, compression }) =>
      compression === 'none' && facts.written >= file.written && facts.born >= file.born && !read.some(r => isSame(r, facts)),
  )
  return fresh.toSorted((a, b) => a.facts.written - b.facts.written || byName(a.path, b.path))
}

/** A rotation may have given the name to another file before it was opened: then undefined. */
export async function openFound({ path, compression, facts }: FoundFile, encoding: Encoding | 'auto'): Promise<Opened | undefined> {
  const opened = await openFile(path).catch(() => undefined)
  if (!opened) return undefined
  const { handle, info } = opened
  if (toFacts(info).ino !== facts.ino) {
    await handle.close()
    return undefined
  }
  return { input: await openInput(handle, path, { compression, encoding, grows: compression === 'none' }), handle }
}
