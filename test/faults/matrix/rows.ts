/** The matrix: every fault against every pair that it touches; the exactly-once rows of Kafka on three of its release lines. */
import { FAULTS } from './faults.ts'
import type { Row } from './page.ts'
import { PAIRS } from './pairs.ts'

const on = (kafka: Row['kafka'], pairs: typeof PAIRS): Row[] =>
  pairs.flatMap(pair => FAULTS.filter(fault => fault.touches(pair)).map(fault => ({ pair, fault, kafka })))

const others = PAIRS.filter(pair => pair.delivery === 'exactly_once' && /kafka/.test(pair.sink) && pair.middle === undefined)

export const ROWS: readonly Row[] = [...on('4.1', PAIRS), ...on('3.9', others), ...on('4.3', others)]

/** As many processes as a small machine takes. */
const AT_ONCE = 9

/** Rows that one fault strikes at the same time. */
export function runsOf(rows: readonly Row[]): Row[][] {
  const runs: Row[][] = []
  for (const fault of new Set(rows.map(row => row.fault))) {
    const of = rows.filter(row => row.fault === fault)
    const size = fault.alone ? 1 : Math.ceil(of.length / Math.ceil(of.length / AT_ONCE))
    for (let i = 0; i < of.length; i += size) runs.push(of.slice(i, i + size))
  }
  return runs
}
