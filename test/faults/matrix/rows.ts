/** The matrix: every fault against every pair that it touches; the exactly-once rows of Kafka on three of its release lines. */
import { FAULTS } from './faults.ts'
import type { Row } from './page.ts'
import { PAIRS } from './pairs.ts'

const on = (kafka: Row['kafka'], pairs: typeof PAIRS): Row[] =>
  pairs.flatMap(pair => FAULTS.filter(fault => fault.touches(pair)).map(fault => ({ pair, fault, kafka })))

const others = PAIRS.filter(pair => pair.delivery === 'exactly_once' && pair.peers.includes('kafka'))

export const ROWS: readonly Row[] = [...on('4.1', PAIRS), ...on('3.9', others), ...on('4.3', others)]
