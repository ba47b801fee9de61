/**
 * The contract of a log driver, as tests: `driverConformance(name, makeDriver, child)`. Every driver of the `kafka` connector runs
 * through all rows; the characters that number them are those of the comparison of clients (docs/adr).
 *
 * `makeDriver` is called several times per test and must open a new connection to the same log each time. Lanes of the log have their
 * next offset, a number, as position.
 */
import { describe } from 'vitest'
import type { Driver } from '../../src/connectors/kafka/driver.ts'
import { adminRows } from './driver-admin.ts'
import { groupRows } from './driver-groups.ts'
import type { ChildDriver } from './driver-lib.ts'
import { processRows } from './driver-processes.ts'
import { rebalanceRows } from './driver-rebalance.ts'
import { recordRows } from './driver-records.ts'
import { fencingRows } from './driver-fencing.ts'
import { transactionRows } from './driver-transactions.ts'

export type { ChildDriver } from './driver-lib.ts'

export function driverConformance(name: string, makeDriver: () => Driver | Promise<Driver>, child: ChildDriver): void {
  describe(`${name}: records`, () => recordRows(makeDriver))
  describe(`${name}: administration`, () => adminRows(makeDriver))
  describe(`${name}: groups`, () => groupRows(makeDriver))
  describe(`${name}: rebalance`, () => rebalanceRows(makeDriver))
  describe(`${name}: transactions`, () => transactionRows(makeDriver))
  describe(`${name}: fencing`, () => fencingRows(makeDriver))
  describe(`${name}: processes`, () => processRows(makeDriver, child))
}
