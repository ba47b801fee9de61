/** librdkafka by way of kcat: how fast the broker on this machine takes and gives these very records. */
import { existsSync, mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Dataset } from '../lib/dataset.ts'
import { cache } from './build.ts'
import type { Contender } from './contender.ts'

let lines = ''

export const kcat: Contender[] = [
  {
    family: 'kcat',
    name: 'kcat: produce the ticks, no consume',
    task: 'map',
    kind: 'ceiling',
    prepare: writeLines,
    command: ({ brokers, output }) => ({
      argv: ['kcat', '-P', '-b', brokers, '-t', output, '-p', '0', '-k', 'BTCUSDT', '-X', 'linger.ms=20', '-l', lines],
    }),
  },
  {
    family: 'kcat',
    name: 'kcat: consume the ticks, start-up included',
    task: 'map',
    kind: 'ceiling',
    records: 1,
    command: ({ brokers, input, output }) => ({
      // Its output topic has no reader: one record marks the end of the input. The shell stays so that its children's CPU can be read.
      argv: [
        'sh',
        '-c',
        `kcat -C -q -e -b ${brokers} -t ${input} -p 0 -o beginning > ticks; wc -l < ticks | kcat -P -b ${brokers} -t ${output} -p 0; sleep 60`,
      ],
    }),
  },
]

async function writeLines(data: Dataset): Promise<void> {
  mkdirSync(cache, { recursive: true })
  lines = join(cache, `ticks-${data.count}.jsonl`)
  if (!existsSync(lines)) await writeFile(lines, [...data.records()].map(({ value }) => `${value}\n`).join(''))
}
