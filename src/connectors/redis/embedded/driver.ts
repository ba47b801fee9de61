/** A Redis without a server: one SQLite file that several processes may use at once. */
import { openSqlite, type Sqlite } from '../../../kit/sqlite/sqlite.ts'
import { type Command, type Driver, type Reply, ReplyError, type Session } from '../driver.ts'
import { commands } from './commands.ts'
import { blob, kind, str } from './store.ts'
import { hasNews } from './streams.ts'
import { Glob } from '../glob.ts'

/** Messages that a subscriber looks up at once. */
const PAGE = 1000

/** @throws {EnvironmentError} the file cannot be used */
export async function embeddedDriver(path: string): Promise<Driver> {
  const db = await openSqlite(path, kind, 'normal')
  let open = true
  const session: Session = {
    run: list => run(db, list),
    close: async () => {},
  }
  return {
    ...session,
    scope: `embedded:${path}`,
    session: async () => ({ ...session }),

    async subscribe(patterns, handlers) {
      const matchers = patterns.map(pattern => ({ pattern, glob: new Glob(pattern) }))
      // From an AUTOINCREMENT column: the numbers of deleted rows are not reused.
      let last = db.get<{ seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'messages'")?.seq ?? 0
      let paused = false
      let looking = false
      const look = (): void => {
        if (looking) return
        looking = true
        for (let full = true; full && !paused; ) {
          const rows = db.all<{ id: number; channel: string; payload: unknown }>(
            'SELECT id, channel, payload FROM messages WHERE id > ? ORDER BY id LIMIT ?',
            last,
            PAGE,
          )
          for (const { id, channel, payload } of rows) {
            last = id
            for (const { pattern, glob } of matchers) if (glob.test(channel)) handlers.message(Buffer.from(channel), blob(payload), pattern)
          }
          full = rows.length === PAGE
        }
        looking = false
      }
      const unwatch = db.watch(() => {
        try {
          look()
        } catch (error) {
          looking = false
          handlers.fatal(error as Error)
        }
      })
      return {
        pressing: false,
        pause(stop) {
          paused = stop
          if (!stop) look()
        },
        close: async () => unwatch(),
      }
    },

    healthy: () => open,
    async close() {
      if (!open) return
      open = false
      db.close()
    },
  }
}

/** The whole list is one transaction: more than a pipeline guarantees, and much faster. */
async function run(db: Sqlite, list: readonly Command[]): Promise<(Reply | ReplyError)[]> {
  const replies = await db.write(() => list.map(command => one(db, command)))
  const block = list.length === 1 && replies[0] === null ? blockMs(list[0]) : undefined
  return block === undefined ? replies : await waitFor(db, list[0], block)
}

/** As in Redis: an error in one command does not undo the others. */
function one(db: Sqlite, [name, ...args]: Command): Reply | ReplyError {
  const command = commands[name.toUpperCase()]
  if (command === undefined) return new ReplyError(`ERR unknown command '${name}': the embedded store does not have it`)
  try {
    return command(db, args)
  } catch (error) {
    if (error instanceof ReplyError) return error
    throw error
  }
}

function blockMs([name, ...args]: Command): number | undefined {
  if (name.toUpperCase() !== 'XREADGROUP') return undefined
  const at = args.findIndex(a => str(a).toUpperCase() === 'BLOCK')
  return at === -1 ? undefined : Number(args[at + 1])
}

async function waitFor(db: Sqlite, command: Command, ms: number): Promise<(Reply | ReplyError)[]> {
  const until = performance.now() + ms
  const streams = command.findIndex(a => str(a).toUpperCase() === 'STREAMS')
  for (;;) {
    const left = until - performance.now()
    if (left <= 0) return [null]
    await new Promise<void>(resolve => {
      const done = (): void => {
        clearTimeout(timer)
        unwatch()
        resolve()
      }
      const timer = setTimeout(done, left)
      const unwatch = db.watch(done)
    })
    // Checks first: a write by one waiting client would wake all others, whose writes would wake it again.
    if (!hasNews(db, str(command[streams + 1]), str(command[2]))) continue
    const replies = await db.write(() => [one(db, command)])
    if (replies[0] !== null) return replies
  }
}
