/**
 * Apache Kafka as plain jars from Maven Central, kept under `.cache/kafka/`, so that a machine without a container
 * engine can run the tests on a real broker.
 */
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const KAFKA_VERSION = '4.1.0'
/** A release of each line that tests run on. */
export const KAFKA_RELEASES = { '3.9': '3.9.2', '4.1': KAFKA_VERSION, '4.3': '4.3.1' } as const

const root = fileURLToPath(new URL('../../..', import.meta.url))
const cache = join(root, '.cache', 'kafka')

const pom = (version: string): string => `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-jars</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${version}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>
  </dependencies>
</project>
`

export function hasCommand(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore', timeout: 10_000 })
    return true
  } catch {
    return false
  }
}

/**
 * Directory of Kafka's jars, fetched on first use (about 46 MB).
 * @throws {Error} naming what to install when there is no Java or no Maven.
 */
export async function kafkaJars(say: (line: string) => void, version: string = KAFKA_VERSION): Promise<string> {
  const lib = join(cache, version)
  if (existsSync(lib)) return lib
  if (!hasCommand('java', '-version'))
    throw new Error('Kafka tests need Java 17 or later: install openjdk-17-jdk-headless, or set KAFKA_BROKERS')
  if (!hasCommand('mvn', '-version')) throw new Error('Kafka tests need Maven to fetch the broker: install maven, or set KAFKA_BROKERS')
  mkdirSync(cache, { recursive: true })
  return await locked(join(cache, 'lock'), () => {
    if (existsSync(lib)) return lib
    say(`fetching Apache Kafka ${version} with Maven into .cache/kafka`)
    const dir = mkdtempSync(join(cache, 'fetch-'))
    try {
      writeFileSync(join(dir, 'pom.xml'), pom(version))
      const jars = join(dir, 'lib')
      execFileSync('mvn', ['-q', '-B', '-Dstyle.color=never', 'dependency:copy-dependencies', `-DoutputDirectory=${jars}`], {
        cwd: dir,
        stdio: ['ignore', 'inherit', 'inherit'],
      })
      // A rename is all or nothing: an interrupted fetch must not look like a complete one.
      renameSync(jars, lib)
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
    return lib
  })
}

export interface ClassArchive {
  /** Of `java`: use it, or be able to make it. */
  readonly flags: readonly string[]
  /** From a broker that has just started; nothing when there is one already. */
  make(pid: number): Promise<void>
}

/**
 * Java's archive of the classes that a broker has loaded when it is ready: with it, a start takes half of the processor time.
 * It holds for one folder of jars and one Java; another Java logs that it does not use it.
 */
export function classArchive(lib: string): ClassArchive {
  const path = `${lib}.jsa`
  if (existsSync(path)) return { flags: [`-XX:SharedArchiveFile=${path}`], make: async () => {} }
  return {
    flags: ['-XX:+RecordDynamicDumpInfo'],
    async make(pid) {
      // A Java without jcmd has no archive, and its brokers start as slowly as the first one.
      const dump = (to: string) => promisify(execFile)('jcmd', [String(pid), 'VM.cds', 'dynamic_dump', to])
      if (!existsSync(path)) await keepFile(path, dump).catch(() => {})
    },
  }
}

/** The file is complete as soon as it exists: `write` creates it under another name. */
export async function keepFile(path: string, write: (to: string) => unknown): Promise<void> {
  const to = `${path}.${process.pid}`
  try {
    await write(to)
    renameSync(to, path)
  } finally {
    rmSync(to, { force: true })
  }
}

/** Two test runs at once must not fetch twice; a lock left by a dead process is taken over. */
async function locked<T>(path: string, work: () => T): Promise<T> {
  mkdirSync(dirname(path), { recursive: true })
  const stale = Date.now() + 10 * 60_000
  for (;;) {
    try {
      mkdirSync(path)
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      if (Date.now() > stale) rmSync(path, { recursive: true, force: true })
      await sleep(200)
    }
  }
  try {
    return work()
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
}
