/** Kafka Streams, as a small Java program that Maven builds. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cache, upToDate } from './build.ts'
import type { Contender, BenchRun, Task } from './contender.ts'

const source = new URL('../peers/kafka-streams/', import.meta.url).pathname
const target = join(cache, 'kafka-streams')

/** Of the collectors, Serial took the least CPU and memory; the heap is never the limit. */
const JVM = ['-XX:+UseSerialGC', '-Xmx512m']

const GUARANTEES = [
  ['at_least_once', 'at least once'],
  ['exactly_once_v2', 'exactly_once_v2'],
]

/** Bars also with everything at its default: that means state in RocksDB, as most applications run. */
const VARIANTS: [Task, string, string][] = [
  ['bars', 'default', 'Kafka Streams 4.1.0'],
  ['bars', 'tuned', 'Kafka Streams 4.1.0, tuned'],
  ['map', 'tuned', 'Kafka Streams 4.1.0, tuned'],
]

export const streams: Contender[] = VARIANTS.flatMap(([task, variant, name]) =>
  GUARANTEES.map(([guarantee, label]) => ({
    family: 'streams' as const,
    name: `${name}, ${label}`,
    task,
    kind: 'peer' as const,
    prepare: build,
    command: ({ brokers, input, output, id, dir }: BenchRun) => {
      const classes = `${target}/classes:${target}/lib/*`
      return {
        argv: ['java', ...JVM, '-cp', classes, 'bench.Main', task, brokers, input, output, id, join(dir, 'state'), guarantee, variant],
      }
    },
  })),
)

async function build(): Promise<void> {
  await upToDate(
    join(target, 'built'),
    [join(source, 'pom.xml'), ...['Main', 'Bar', 'Tick', 'Json'].map(name => join(source, `src/main/java/bench/${name}.java`))],
    async () => {
      await promisify(execFile)('mvn', ['-q', '-B', 'compile', 'dependency:copy-dependencies', `-DoutputDirectory=${target}/lib`], {
        cwd: source,
      })
    },
  )
}
