import { driverConformance } from '../../conformance/driver.ts'
import { brokers } from '../../support/brokers.ts'
import { makeDriver } from './make.ts'

const options = { brokers: brokers() }

driverConformance('kafkajs', () => makeDriver(options), { module: new URL('make.ts', import.meta.url).href, options })
