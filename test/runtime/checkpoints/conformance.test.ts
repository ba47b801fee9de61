import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { embeddedDriver } from '../../../src/connectors/kafka/embedded/driver.ts'
import { localCheckpoints } from '../../../src/runtime/checkpoints/local.ts'
import { type Memory, memoryCheckpoints } from '../../../src/runtime/checkpoints/memory.ts'
import { checkpointConformance } from '../../conformance/checkpoint.ts'
import { laneOf, producerOptions } from '../../conformance/driver-lib.ts'

const directory = mkdtempSync(join(tmpdir(), 'runner-checkpoints-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
const lane = (n: number) => ({ id: `ticks-${n}.csv`, source: 'in' })

checkpointConformance('local', () => ({ open: id => localCheckpoints({ id, path: join(directory, 'checkpoints.db') }), lane }))

checkpointConformance('memory', () => {
  const memories = new Map<string, Memory>()
  return {
    open(id) {
      if (!memories.has(id)) memories.set(id, new Map())
      return memoryCheckpoints(memories.get(id))
    },
    lane,
  }
})

checkpointConformance('embedded', () => {
  const driver = embeddedDriver({ path: join(directory, 'log.db') })
  return {
    open: id => ({ ...driver.transactor({ id, producer: producerOptions }), close: () => driver.close() }),
    lane: n => laneOf('in', n, 'g'),
    owner: id => id,
  }
})
