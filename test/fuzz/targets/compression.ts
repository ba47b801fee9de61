/** Compressed bytes of a record batch, each codec; the first byte selects it. */
import { DecodeError } from '../../../src/contract/plugin.ts'
import { codecIds, compress, type Compression, decompress } from '../../../src/connectors/kafka/codec/compression.ts'
import { expected, type Target } from '../target.ts'

const text = Buffer.from(Array.from({ length: 40 }, (_, i) => `{"symbol":"BTCUSDT","price":${i * 7}.25}`).join('\n'))
const CODECS = Object.keys(codecIds) as Compression[]

export const target: Target = {
  name: 'compression',
  seeds: () =>
    [
      ...CODECS.flatMap(codec =>
        [text, Buffer.alloc(0), Buffer.alloc(100_000)].map(data => Buffer.concat([Buffer.from([codecIds[codec]]), compress(codec, data)])),
      ),
      // The framing that Java writes.
      Buffer.concat([
        Buffer.from([2, 130, 83, 78, 65, 80, 80, 89, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, compress('snappy', text).length]),
        compress('snappy', text),
      ]),
    ].filter(seed => seed.length < 20_000),
  repair: input => (input.length > 0 ? Buffer.concat([Buffer.from([input[0] % 5]), input.subarray(1)]) : input),
  run: input =>
    expected([DecodeError], () => {
      const out = decompress(input[0] ?? 0, input.subarray(1))
      return `${input[0]}:${Math.ceil(Math.log2(out.length + 1))}`
    }),
}
