/** Reads a result of 1 GB in a process of its own, and prints the most memory that the process and the result took, MB. */
import { connect, connectionFor } from '../../../src/kit/postgres/connect.ts'
import { useLimits } from '../../../src/kit/limits.ts'
import { silentLogger } from '../../../src/runtime/telemetry/log.ts'
import { peakMemory } from '../../support/peak-memory.ts'

useLimits({ input: 64 * 1024 * 1024 })
const handle = await connect(connectionFor(process.argv[2]), silentLogger)
const opened = peakMemory('self') / 1000
const { more } = await handle.driver.query("select repeat('x', 100000) t from generate_series(1, 10000)", [], { maxRows: 100_000 })
await handle.release()
const peak = peakMemory('self') / 1000
console.log(JSON.stringify({ more, peak, result: peak - opened }))
