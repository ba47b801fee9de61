import { expect, test } from 'vitest'
import { murmur2, partitionOf, stickyPartition } from '../../../src/connectors/kafka/partitioner.ts'

// Printed by Kafka 4.1.0's own classes: Utils.murmur2, BuiltInPartitioner.partitionForKey for 7 and for 12 partitions.
const java: [key: string, hash: number, of7: number, of12: number][] = [
  ['21', -973932308, 3, 0],
  ['foobar', -790332482, 0, 6],
  ['a-little-bit-long-string', -985981536, 1, 8],
  ['a-little-bit-longer-string', -1486304829, 0, 11],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971, 3, 5],
  ['abc', 479470107, 4, 3],
  ['', 275646681, 2, 9],
  ['BTCUSDT', -841713390, 2, 2],
  ['ETHUSDT', 616678109, 5, 5],
  ['ключ', 2122343024, 4, 8],
  ['価格🎈', -513152500, 2, 4],
  ['\u00ff\u0080', 321056892, 2, 0],
]

test.each(java)('%s goes to the same partition as in Java', (key, hash, of7, of12) => {
  expect(murmur2(Buffer.from(key))).toBe(hash)
  expect([partitionOf(key, 7), partitionOf(Buffer.from(key), 12), partitionOf(key, 1)]).toEqual([of7, of12, 0])
})

test('bytes 0 to 255 and every length match Java', () => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
  let chain = 0
  for (let n = 0; n <= 256; n++) chain = (chain * 31 + murmur2(all.subarray(0, n))) % 1_000_000_007
  expect(chain).toBe(-506885420)
})

test('records without a key get one of the partitions', () => {
  const seen = new Set(Array.from({ length: 500 }, () => stickyPartition(4)))
  expect([...seen].toSorted()).toEqual([0, 1, 2, 3])
})
