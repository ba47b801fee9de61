/** Spills into the directory it is given, commits the first records, prints how many, and waits to be killed. */
import { createPushQueue } from '../../../src/kit/push-queue/queue.ts'

const silent = (): void => {}
const queue = createPushQueue({
  dir: process.argv[2],
  maxBytes: 8192,
  maxSpillBytes: 64 * 1024 * 1024,
  onFull: 'spill',
  metrics: { counter: () => ({ inc: silent }), gauge: () => ({ set: silent }) },
  log: { debug: silent, info: silent, warn: silent, error: silent },
  step: 'in',
  clock: { now: () => 1_000_000, monotonic: () => 1_000_000 },
})
queue.open()
for (let n = 0; n < 4000; n++) queue.push({ payload: Buffer.from(`${n}:${'x'.repeat(n % 300)}`), time: n })
const { records, position } = await queue.read(new AbortController().signal, 70)
queue.commit(position)
process.stdout.write(`${records.length}\n`)
setInterval(silent, 1000)
