/** The data that a browser or a feed sends over a WebSocket: frames, through the library and its limits. The first byte: which side, and compression. */
import { PassThrough } from 'node:stream'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { assert, type Target } from '../target.ts'

const require = createRequire(import.meta.url)
/** Only the decoder: a socket for each input would test the kernel. */
const lib = join(dirname(require.resolve('ws')), 'lib')
const Receiver = require(join(lib, 'receiver.js')) as new (options: object) => PassThrough
const PerMessageDeflate = require(join(lib, 'permessage-deflate.js')) as new (
  options: object,
  ...rest: unknown[]
) => { accept(o: object[]): void; cleanup(): void }

const MAX = 65_536

function frame(opcode: number, payload: Buffer, { fin = true, mask = false, rsv1 = false } = {}): Buffer {
  const head = [(fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | opcode]
  const m = mask ? 0x80 : 0
  if (payload.length < 126) head.push(m | payload.length)
  else head.push(m | 126, payload.length >> 8, payload.length & 255)
  return Buffer.concat([Buffer.from(head), mask ? Buffer.alloc(4) : Buffer.alloc(0), payload])
}

export const target: Target = {
  name: 'websocket',
  seeds: () => {
    const text = Buffer.from('{"symbol":"BTC","price":1.10}')
    const deflated = deflateRawSync(text, { finishFlush: 2 }).subarray(0, -4)
    const bomb = deflateRawSync(Buffer.alloc(1_000_000), { finishFlush: 2 }).subarray(0, -4)
    return [
      [0, frame(1, text)],
      [1, frame(1, text, { mask: true })],
      [0, frame(1, text.subarray(0, 9), { fin: false }), frame(9, Buffer.from('p')), frame(0, text.subarray(9))],
      [2, frame(1, deflated, { rsv1: true })],
      [2, frame(2, bomb, { rsv1: true })],
      [0, frame(8, Buffer.from([3, 232]))],
      [0, frame(2, Buffer.alloc(300))],
    ].map(([kind, ...frames]) => Buffer.concat([Buffer.from([kind as number]), ...(frames as Buffer[])]))
  },
  dictionary: [
    Buffer.from([0x81, 0x7f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
    Buffer.from([0x81, 0x7e, 0xff, 0xff]),
    Buffer.from([0xc1]),
    Buffer.from([0x80, 0]),
    Buffer.from([0x88, 2, 3, 232]),
  ],
  run: input =>
    new Promise((resolve, reject) => {
      const kind = input[0] ?? 0
      const deflate = new PerMessageDeflate({ threshold: 0 }, false, MAX)
      if ((kind & 2) !== 0) deflate.accept([{}])
      const receiver = new Receiver({
        isServer: (kind & 1) !== 0,
        maxPayload: MAX,
        skipUTF8Validation: true,
        extensions: (kind & 2) !== 0 ? { 'permessage-deflate': deflate } : {},
      })
      let bytes = 0
      let outcome = ''
      const end = (what: string): void => {
        if ((kind & 2) !== 0) deflate.cleanup()
        resolve(`${outcome}${what}`)
      }
      receiver.on('message', (data: Buffer) => {
        try {
          assert(data.length <= MAX, 'a message is within its limit')
          bytes += data.length
          if (outcome.length < 20) outcome += 'm'
        } catch (error) {
          reject(error as Error)
        }
      })
      receiver.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
      receiver.on('finish', () => end(`.${String(bytes).length}`))
      receiver.end(input.subarray(1))
    }),
}
