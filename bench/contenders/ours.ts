import { join } from 'node:path'
import { root } from './build.ts'
import type { Contender, BenchRun, Task } from './contender.ts'

const files: Record<Task, string> = { bars: 'pipelines/bars.yaml', map: 'bench/pipelines/map.yaml', digits: 'bench/pipelines/map.yaml' }

const run = (task: Task, delivery: string, brokers: (place: BenchRun) => string): Contender['command'] => {
  return place => ({
    // The same commit interval as the peers', the same compression (none), no metrics server on a fixed port.
    argv: [
      process.execPath,
      join(root, 'bin/runner.js'),
      'run',
      join(root, files[task]),
      '--log-format',
      'json',
      '--set',
      `delivery=${delivery}`,
      '--set',
      'commit_interval=100ms',
      // Checkpoints belong to the pipeline's name.
      '--set',
      `name=${place.id}`,
    ],
    env: {
      KAFKA_BROKERS: brokers(place),
      TICKS_TOPIC: place.input,
      BARS_TOPIC: place.output,
      MAP_TOPIC: place.output,
      KAFKA_GROUP: place.id,
      KAFKA_DLQ_TOPIC: `${place.id}-dlq`,
      KAFKA_COMPRESSION: 'none',
      KAFKA_METRICS_ENABLED: 'false',
      NODE_ENV: 'production',
    },
  })
}

const kafka = (task: Task, delivery: string, name: string): Contender => ({
  family: 'ours',
  name,
  task,
  kind: 'ours',
  exact: true,
  command: run(task, delivery, place => place.brokers),
})

const embedded = (task: Task, delivery: string, name: string): Contender => ({
  ...kafka(task, delivery, name),
  log: 'embedded',
  command: run(task, delivery, place => `embedded:${join(place.dir, 'log.db')}`),
})

export const ours: Contender[] = (['bars', 'map', 'digits'] as const).flatMap(task => [
  kafka(task, 'at_least_once', 'runner on Kafka, at least once'),
  kafka(task, 'exactly_once', 'runner on Kafka, exactly once'),
  embedded(task, 'exactly_once', 'runner on the embedded log, exactly once'),
])
