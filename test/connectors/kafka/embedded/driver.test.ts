import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { embeddedDriver } from '../../../../src/connectors/kafka/embedded/driver.ts'
import { driverConformance } from '../../../conformance/driver.ts'

const directory = mkdtempSync(join(tmpdir(), 'runner-log-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
const module = new URL('make.ts', import.meta.url).href

const options = { path: join(directory, 'log.db') }
driverConformance('embedded', () => embeddedDriver(options), { module, options })

// A process has one connection per path. With different paths, the drivers of a test behave like separate processes.
mkdirSync(join(directory, 'apart'))
const paths = [0, 1, 2, 3].map(n => {
  const link = join(directory, `apart-${n}`)
  symlinkSync('apart', link)
  return join(link, 'log.db')
})
let next = 0
driverConformance('embedded, a connection each', () => embeddedDriver({ path: paths[next++ % paths.length] }), {
  module,
  options: { path: paths[0] },
})
