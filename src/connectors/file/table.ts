/** A file as a table in memory: rows by key. A changed file replaces the table as a whole; a broken one is reported and not used. */
import type { BigIntStats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { ConnectionError, DataError, EnvironmentError, type Logger, type Message } from '../../contract/plugin.ts'
import { delimiterFor, formatOf, type LineFormat, type RecordOptions, Records } from '../../kit/lines/records.ts'
import { reasonOf } from '../../kit/system-error.ts'
import { getter, show } from '../../kit/values/fields.ts'
import { sameKeyText } from '../../kit/values/key.ts'
import { isRecord } from '../../kit/values/records.ts'
import { openInput } from './input.ts'
import { NotRead, openFile } from './open.ts'

export interface TableConfig extends Omit<RecordOptions, 'format' | 'delimiter'> {
  readonly path: string
  readonly format: LineFormat | 'auto'
  readonly delimiter?: string
  /** Path of the field that holds the key. */
  readonly column: string
  /** Several rows may have one key. */
  readonly many: boolean
  /** Bytes. */
  readonly max_size: number
}

/** Rows by the text of their key; numbers that are equal have one text. */
export type TableRows = ReadonlyMap<string, readonly unknown[]>

const CHUNK = 256 * 1024
/** Time for which a changed file must stay unchanged before it is read, ms. */
const SETTLE = 1000

/**
 * Identifies the content of a file, as far as its folder shows it. Programs that copy and unpack files set `mtime`, and a new file can get the
 * inode of a removed one; none of them sets `ctime`.
 */
const versionOf = ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string => [dev, ino, size, mtimeNs, ctimeNs].join(':')

interface Loaded {
  readonly rows: TableRows
  readonly version: string
  readonly count: number
}

/**
 * Reads the whole file.
 * @param depth maximum nesting depth of values
 * @throws {EnvironmentError} for a file that cannot be read or used, with the line; {ConnectionError} for one that is being written
 */
export async function loadTable(config: TableConfig, depth: number): Promise<Loaded> {
  const { path, max_size } = config
  const { handle, info } = await openFile(path).catch((error: unknown) => {
    const reason = error instanceof NotRead ? error.message : reasonOf(error)
    throw new EnvironmentError(`cannot read the table ${path}: ${reason}; correct path, or make the file readable`, error)
  })
  const tooLarge = (): EnvironmentError =>
    new EnvironmentError(`the table ${path} has more than ${max_size} bytes (max_size), all of which are kept in memory: raise max_size`)
  if (info.size > max_size) {
    await handle.close()
    throw tooLarge()
  }
  const input = await openInput(handle, path, { compression: 'none', encoding: config.encoding ?? 'auto', grows: false })
  try {
    const table = new Builder(config, depth)
    let at = 0
    for (;;) {
      const chunk = await input.read(at, CHUNK)
      if (chunk.length === 0) break
      at += chunk.length
      // The decoded text, or a file that grows meanwhile.
      if (at > 4 * max_size) throw tooLarge()
      table.push(chunk)
    }
    table.end()
    const version = versionOf(info)
    if (versionOf(await handle.stat({ bigint: true })) !== version) throw new ConnectionError(`the table ${path} is being written`)
    return { rows: table.rows, version, count: table.count }
  } catch (error) {
    if (error instanceof EnvironmentError || error instanceof ConnectionError) throw error
    throw new EnvironmentError(`cannot read the table ${path}: ${reasonOf(error)}`, error)
  } finally {
    await input.close()
  }
}

/** Rows of a file that is read in parts. */
class Builder {
  readonly rows = new Map<string, unknown[]>()
  count = 0
  private readonly config: TableConfig
  private readonly depth: number
  private readonly records: Records
  private readonly csv: boolean
  private readonly keyOf: (value: unknown) => unknown
  /** Lines of the first row of each key, for the message about a second one. */
  private readonly lines = new Map<string, number>()

  constructor(config: TableConfig, depth: number) {
    const { path, column } = config
    this.config = config
    this.depth = depth
    const format = formatOf(config.format, path)
    this.csv = format === 'csv'
    // Rows of CSV are flat: a dot is part of the name of a column.
    this.keyOf = this.csv
      ? row => (Object.hasOwn(row as object, column) ? (row as Record<string, unknown>)[column] : undefined)
      : getter(column)
    this.records = new Records({ ...config, format, delimiter: delimiterFor(config.delimiter, path) }, path, 'table', `the table ${path}`)
  }

  push(chunk: Buffer): void {
    for (const message of this.records.push(chunk, 0)) this.add(message)
  }

  end(): void {
    for (const message of this.records.end(0)) this.add(message)
    // Without rows, only the header shows that the file is the right one, and complete.
    if (this.count === 0 && this.csv) this.checkHeader()
  }

  private checkHeader(): void {
    const { path, column } = this.config
    const { names } = this.records
    if (names === undefined) throw new EnvironmentError(`the table ${path} is empty: it has no header line`)
    if (!names.includes(column)) throw new EnvironmentError(`the table ${path} has no column ${column}; it has ${names.join(', ')}`)
  }

  private add(message: Message): void {
    const { path, column, many } = this.config
    const line = message.offset
    const fail = (reason: string, cause?: unknown): never => {
      throw new EnvironmentError(`the table ${path}, line ${line}: ${reason}`, cause)
    }
    if (message.failure) fail(message.failure.message.replace(new RegExp(`^line ${line}, `), ''), message.failure)
    let value: unknown
    try {
      message.decode(this.depth)
      value = message.value
    } catch (error) {
      fail((error as Error).message, error)
    }
    if (!isRecord(value)) fail(`a row must be an object, not ${show(value)}`)
    let key: string | undefined
    try {
      key = sameKeyText(this.keyOf(value))
    } catch (error) {
      if (!(error instanceof DataError)) throw error
      fail(error.message, error)
    }
    if (key === undefined) {
      const found = this.keyOf(value)
      const has =
        found === undefined
          ? `there is no ${column}; the row has ${Object.keys(value as object).join(', ')}`
          : `${column} must be text or a number, not ${show(found)}`
      return fail(has)
    }
    const list = this.rows.get(key)
    if (list && !many)
      fail(`${column} ${show(key)} is in line ${this.lines.get(key)} already: remove one of the rows, or set many: true to use all of them`)
    if (list) list.push(value)
    else {
      this.rows.set(key, [value])
      if (!many) this.lines.set(key, line)
    }
    this.count++
  }
}

/** The table of a step, for all its lanes. Reads the file again when it has changed. */
export class Table {
  /** Why the file is not used as it is now; the rows are those of an earlier version. */
  problem: string | undefined
  private readonly config: TableConfig & { readonly reload: number }
  private readonly ctx: { readonly log: Logger; readonly step: string; readonly depth: number; readonly clock: { monotonic(): number } }
  private current: Loaded | undefined
  /** The version at the last check, and one that cannot be used. */
  private seen: string | undefined
  private broken: string | undefined
  private nextCheck = 0
  private running: Promise<void> | undefined

  constructor(config: Table['config'], ctx: Table['ctx']) {
    this.config = config
    this.ctx = ctx
  }

  get rows(): TableRows {
    if (!this.current) throw new Error('the table is not loaded')
    return this.current.rows
  }

  get count(): number {
    return this.current?.count ?? 0
  }

  /** Loads the file, unless it is loaded. @throws as `loadTable` */
  async open(): Promise<void> {
    if (this.current) return
    this.running ??= this.first().finally(() => (this.running = undefined))
    await this.running
  }

  /** Undefined: the rows are current, as far as is known. Otherwise resolves when the file was checked, and never rejects. */
  refresh(): Promise<void> | undefined {
    if (this.running) return this.running
    if (this.config.reload === 0 || this.ctx.clock.monotonic() < this.nextCheck) return undefined
    return (this.running = this.check().finally(() => (this.running = undefined)))
  }

  private async first(): Promise<void> {
    this.current = await loadTable(this.config, this.ctx.depth)
    this.seen = this.current.version
    this.checkAfter(this.config.reload)
  }

  private async check(): Promise<void> {
    const { path, reload } = this.config
    this.checkAfter(reload)
    let version: string
    try {
      version = versionOf(await stat(path, { bigint: true }))
    } catch (error) {
      this.seen = undefined
      return this.report(`cannot read the table ${path}: ${reasonOf(error)}`)
    }
    if (version === this.current?.version) {
      this.problem = undefined
      this.seen = version
      return
    }
    if (version === this.broken) return
    // A file that is written in place is complete only after its last change.
    if (version !== this.seen) {
      this.seen = version
      return this.checkAfter(Math.min(SETTLE, reload))
    }
    try {
      this.current = await loadTable(this.config, this.ctx.depth)
      this.problem = this.broken = undefined
      this.ctx.log.info({ step: this.ctx.step, path, rows: this.count }, 'the table was reloaded')
    } catch (error) {
      if (error instanceof ConnectionError) return this.checkAfter(Math.min(SETTLE, reload))
      this.broken = version
      this.report((error as Error).message)
    }
  }

  private checkAfter(ms: number): void {
    this.nextCheck = this.ctx.clock.monotonic() + ms
  }

  /** Logs each problem once. */
  private report(problem: string): void {
    const text = `${problem}; the rows of the earlier version are used`
    if (this.problem !== text) this.ctx.log.warn({ step: this.ctx.step, path: this.config.path }, text)
    this.problem = text
  }
}
