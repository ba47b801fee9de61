import { expect, test } from 'vitest'
import { PushReader } from '../../../src/connectors/redis/client/reading/push-reader.ts'
import { encode } from '../../support/redis.ts'
import { eventually } from '../../support/eventually.ts'

function reader() {
  const got: string[] = []
  const done = { parsed: 0, error: undefined as Error | undefined }
  const parser = new PushReader({
    message: (channel, payload, pattern) => got.push(`${pattern} ${channel.toString()} ${payload.toString('latin1')}`),
    subscribed: () => got.push('subscribed'),
    answered: refusal => got.push(refusal ?? 'ok'),
    failed: error => (done.error = error),
    parsed: bytes => (done.parsed += bytes),
  })
  return { parser, got, done }
}

test('messages are parsed, however they are split', async () => {
  const parts: Buffer[] = [Buffer.from('*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n')]
  const expected = ['subscribed']
  for (let n = 0; n < 200; n++) {
    const payload = Buffer.from(`${n}\r\n*$-:${'x'.repeat((n * 7919) % 400)}\xff`, 'latin1')
    parts.push(encode(['pmessage', n % 2 ? '*' : 't.*', `t.${n}`, payload]))
    expected.push(`${n % 2 ? '*' : 't.*'} t.${n} ${payload.toString('latin1')}`)
    if (n % 50 === 0) parts.push(encode(['pong', '']))
  }
  parts.push(Buffer.from("-NOPERM it's not allowed\r\n+OK\r\n"))
  expected.push("NOPERM it's not allowed", 'ok')
  const bytes = Buffer.concat(parts)
  for (const size of [1, 2, 3, 7, 100, 1000, bytes.length]) {
    const { parser, got, done } = reader()
    for (let at = 0; at < bytes.length; at += size) {
      parser.take(bytes.subarray(at, at + size))
      if (at % (size * 64) === 0) await new Promise(resolve => setImmediate(resolve))
    }
    await eventually(() => expect(got).toHaveLength(expected.length))
    expect(got).toEqual(expected)
    expect(done.parsed).toBe(bytes.length)
  }
})

test('a large message in many pieces and an empty message are parsed', async () => {
  const { parser, got, done } = reader()
  const bytes = Buffer.concat([encode(['pmessage', '*', 'a', Buffer.alloc(5_000_000, 120)]), encode(['pmessage', '*', 'b', ''])])
  for (let at = 0; at < bytes.length; at += 65_536) parser.take(bytes.subarray(at, at + 65_536))
  await eventually(() => expect(got.map(g => g.length)).toEqual([5_000_004, 4]))
  expect(done.parsed).toBe(bytes.length)
})

test('bytes of another protocol end the connection', async () => {
  const { parser, done } = reader()
  parser.take(Buffer.from('HTTP/1.1 400 Bad Request\r\n'))
  await eventually(() => expect(done.error?.message).toContain('does not speak the Redis protocol'))
})

test('parsing stops while paused, unless the connection is closed', async () => {
  const { parser, got } = reader()
  parser.pause(true)
  parser.take(encode(['pmessage', '*', 'a', '1']))
  await new Promise(resolve => setTimeout(resolve, 5))
  expect(got).toEqual([])
  parser.finish()
  expect(got).toEqual(['* a 1'])
})

test.each([
  ['a message', '*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n$67108864\r\n'],
  ['a number', `*4\r\n$${'1'.repeat(100)}\r\n`],
])('%s of more bytes than the buffer ends the connection, because the read would never finish', async (_, bytes) => {
  const { parser, done } = reader()
  parser.take(Buffer.from(bytes))
  await eventually(() => expect(done.error).toBeDefined())
  expect(done.error?.message).toMatch(/^a published message has more than 64 MiB/)
  expect(done.parsed).toBe(bytes.length)
})
