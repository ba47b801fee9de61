/** Files whose paths depend on the message: opened at their first message, and closed when too many are open. */
import PQueue from 'p-queue'
import { BatchError, DataError, type Message } from '../../contract/plugin.ts'

/** One of the files. */
export interface OutputFile {
  open(): Promise<void>
  /** @throws {BatchError} for messages that can't be written, by their index. */
  write(messages: readonly Message[]): Promise<void>
  close(): Promise<void>
  /** A write failed halfway, and the next one has to repair it. */
  readonly torn: boolean
}

interface OpenFile {
  readonly file: OutputFile
  opened: Promise<void>
  users: number
}

export class FileSet {
  /** In order of their last use. */
  private readonly files = new Map<string, OpenFile>()
  private readonly pathOf: (m: Message) => string
  private readonly make: (path: string) => OutputFile
  private readonly max: number
  /** No more writes at a time than files may be open, so that each finds a file to close. */
  private readonly turns: PQueue
  /** Written by a write that failed for another file: the same messages are delivered again. */
  private readonly written = new WeakSet<Message>()

  constructor(pathOf: (m: Message) => string, make: (path: string) => OutputFile, max: number) {
    this.pathOf = pathOf
    this.make = make
    this.max = max
    this.turns = new PQueue({ concurrency: max })
  }

  /** Files that are open. */
  get size(): number {
    return this.files.size
  }

  async write(messages: readonly Message[]): Promise<void> {
    const failed = new Map<number, Error>()
    const byPath = new Map<string, number[]>()
    messages.forEach((message, i) => {
      if (this.written.has(message)) return
      try {
        const path = this.pathOf(message)
        const indexes = byPath.get(path)
        if (indexes) indexes.push(i)
        else byPath.set(path, [i])
      } catch (error) {
        if (!(error instanceof Error)) throw error
        failed.set(i, error)
      }
    })
    const done: number[] = []
    const writes = Array.from(byPath, async ([path, indexes]) => {
      const failures = await this.turns.add(() =>
        this.writeTo(
          path,
          indexes.map(i => messages[i]),
        ),
      )
      indexes.forEach((at, i) => {
        const error = failures?.get(i)
        if (error) failed.set(at, error)
        else done.push(at)
      })
    })
    const broken = (await Promise.allSettled(writes)).find(w => w.status === 'rejected')
    if (broken) {
      for (const i of done) this.written.add(messages[i])
      throw broken.reason
    }
    if (failed.size > 0) throw new BatchError(failed)
  }

  async close(): Promise<void> {
    await this.turns.onIdle()
    await Promise.all(Array.from(this.files.values(), ({ file }) => file.close()))
    this.files.clear()
  }

  /** @returns the messages that can't be written, by index. */
  private async writeTo(path: string, messages: readonly Message[]): Promise<ReadonlyMap<number, Error> | undefined> {
    const entry = await this.use(path)
    try {
      await entry.opened
      await entry.file.write(messages)
      return undefined
    } catch (error) {
      if (error instanceof BatchError) return error.failed
      // The path came from the messages, so the messages can't be written.
      if (error instanceof DataError) return new Map(messages.map((_, i) => [i, error]))
      throw error
    } finally {
      entry.users--
    }
  }

  private async use(path: string): Promise<OpenFile> {
    let entry = this.files.get(path)
    if (entry) this.files.delete(path)
    else {
      const file = this.make(path)
      const room = this.makeRoom()
      const opened = room.then(() => file.open())
      entry = { file, opened, users: 0 }
      opened.catch(() => this.files.get(path)?.file === file && this.files.delete(path))
    }
    entry.users++
    this.files.set(path, entry)
    return entry
  }

  private async makeRoom(): Promise<void> {
    if (this.files.size < this.max) return
    for (const [path, { file, users }] of this.files) {
      if (users > 0 || file.torn) continue
      this.files.delete(path)
      await file.close()
      return
    }
  }
}
