/** What the clients allow by themselves: ceilings, without recovery, checks or exact arithmetic. */
import type { Contender, Task } from './contender.ts'

const script = new URL('../peers/bare/kafkajs.js', import.meta.url).pathname

const kafkajs = (task: Task, name: string): Contender => ({
  family: 'kafkajs',
  name,
  task,
  kind: 'ceiling',
  command: ({ brokers, input, output, id }) => ({
    argv: [process.execPath, script, task, brokers, input, output, id],
    env: { NODE_NO_WARNINGS: '1' },
  }),
})

export const bare: Contender[] = [
  kafkajs('bars', 'bare kafkajs: consume, JSON.parse, bar arithmetic'),
  kafkajs('map', 'bare kafkajs: consume, map, produce'),
]
