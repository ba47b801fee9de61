/** Answers of a broker: fetched sets, which are taken apart by hand, and those that kafkajs decodes. */
import { decode } from '../../../src/connectors/kafka/client/consume/fetcher.ts'
import { ConnectionError } from '../../../src/contract/plugin.ts'
import { assert, expected, type Target } from '../target.ts'

function fetched(version: number): Buffer {
  const head = Buffer.alloc(version >= 7 ? 14 : 8)
  head.writeInt32BE(1, head.length - 4)
  const part = Buffer.alloc(30 + 4 + 16 + 4 + 4 + 5)
  let p = version >= 5 ? 30 : 22
  p = part.writeInt32BE(1, p) + 16
  if (version >= 11) p += 4
  p = part.writeInt32BE(5, p) + 5
  return Buffer.concat([Buffer.from([version]), head, Buffer.from([0, 1, 116, 0, 0, 0, 1]), part.subarray(0, p)])
}

export const target: Target = {
  name: 'kafka-response',
  seeds: () => [4, 5, 7, 8, 11].map(fetched),
  repair: input => (input.length > 0 ? Buffer.concat([Buffer.from([4 + (input[0] % 8)]), input.subarray(1)]) : input),
  run: input =>
    expected([ConnectionError], () => {
      if (input.length === 0) return 'empty'
      const { partitions } = decode(input.subarray(1), 4 + (input[0] % 8))
      assert(partitions.length <= input.length, 'no more partitions than bytes')
      return `${partitions.length}`
    }),
}
