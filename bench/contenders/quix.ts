/** Quix Streams from PyPI, in a virtual environment under `.cache`. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cache, upToDate } from './build.ts'
import type { Contender } from './contender.ts'

const run = promisify(execFile)
const source = new URL('../peers/quix/', import.meta.url).pathname
const venv = join(cache, 'quix')

export const quix: Contender[] = [
  {
    family: 'quix',
    name: 'Quix Streams 3.28.1, at least once',
    task: 'bars',
    kind: 'peer',
    prepare: async () => {
      const requirements = join(source, 'requirements.txt')
      await upToDate(join(venv, 'installed'), [requirements], async () => {
        await run('python3', ['-m', 'venv', venv])
        await run(join(venv, 'bin', 'pip'), ['install', '-q', '-r', requirements])
      })
    },
    command: ({ brokers, input, output, id, dir }) => ({
      argv: [join(venv, 'bin', 'python'), join(source, 'bars.py'), brokers, input, output, id, join(dir, 'state')],
    }),
  },
]
