import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { embeddedDriver } from '../../../src/connectors/embedded/driver.ts'
import { driverConformance } from '../../conformance/driver.ts'

const directory = mkdtempSync(join(tmpdir(), 'runner-log-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
const options = { path: join(directory, 'log.db') }

driverConformance('embedded', () => embeddedDriver(options), { module: new URL('make.ts', import.meta.url).href, options })
