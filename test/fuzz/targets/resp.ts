/** The data of a subscribed Redis connection, in chunks of any size. The first byte selects the chunks. */
import { PushReader } from '../../../src/connectors/redis/client/reading/push-reader.ts'
import { assert, type Target } from '../target.ts'

const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`
const message = (channel: string, payload: string): string => `*4\r\n${bulk('pmessage')}${bulk('t.*')}${bulk(channel)}${bulk(payload)}`
const subscribed = `*3\r\n${bulk('psubscribe')}${bulk('t.*')}:1\r\n`

export const target: Target = {
  name: 'resp',
  seeds: () =>
    [
      `+OK\r\n${subscribed}${message('t.a', '{"a":1}')}`,
      `-NOPERM no\r\n`,
      `${subscribed}${message('t.ü', 'ü'.repeat(30))}${message('t.b', '')}*2\r\n${bulk('pong')}${bulk('')}`,
      `*4\r\n${bulk('pmessage')}$-1\r\n$-1\r\n:3\r\n`,
    ].flatMap(text => [0, 1, 7].map(n => Buffer.concat([Buffer.from([n]), Buffer.from(text)]))),
  dictionary: [
    '*',
    '$',
    ':',
    '\r\n',
    '-1',
    '-2',
    '2147483648',
    '9999999999999999',
    '*4\r\n',
    '$0\r\n\r\n',
    '-9007199254740993',
    '0x10',
    '*-1\r\n',
  ],
  run(input) {
    const size = (input[0] ?? 0) === 0 ? input.length : input[0]
    let bytes = 0
    let messages = 0
    let parsed = 0
    let failure = ''
    const reader = new PushReader({
      message(channel, payload) {
        messages++
        bytes += channel.length + payload.length
      },
      subscribed() {},
      answered() {},
      failed: error => void (failure = error.message),
      parsed: n => void (parsed += n),
    })
    const text = input.subarray(1)
    for (let at = 0; at < text.length; at += size) {
      reader.take(text.subarray(at, at + size))
      reader.finish()
    }
    assert(bytes <= text.length, 'no more content than bytes')
    assert(messages <= text.length, 'no more messages than bytes')
    assert(parsed <= text.length, 'no more bytes are done with than came')
    assert(failure === '' || parsed === text.length, 'all bytes of a connection that failed are done with')
    return `${messages}:${failure}`
  },
}
