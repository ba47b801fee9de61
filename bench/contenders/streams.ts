/** Kafka Streams, as a small Java program that Maven builds. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cache, upToDate } from './build.ts'
import type { Contender, Task } from './contender.ts'

const source = new URL('../peers/kafka-streams/', import.meta.url).pathname
const target = join(cache, 'kafka-streams')

/** Of those tried, what ran fastest here: see bench/peers/README.md. */
const JVM = ['-XX:+UseSerialGC', '-Xmx512m']

export const streams: Contender[] = (
  [
    ['bars', 'at_least_once', 'Kafka Streams 4.1.0, at least once'],
    ['bars', 'exactly_once_v2', 'Kafka Streams 4.1.0, exactly_once_v2'],
    ['map', 'at_least_once', 'Kafka Streams 4.1.0, at least once'],
    ['map', 'exactly_once_v2', 'Kafka Streams 4.1.0, exactly_once_v2'],
  ] as [Task, string, string][]
).map(([task, guarantee, name]) => ({
  family: 'streams',
  name,
  task,
  kind: 'peer',
  prepare: build,
  command: ({ brokers, input, output, id, dir }) => ({
    argv: [
      'java',
      ...JVM,
      '-cp',
      `${target}/classes:${target}/lib/*`,
      'bench.Main',
      task,
      brokers,
      input,
      output,
      id,
      join(dir, 'state'),
      guarantee,
    ],
  }),
}))

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
