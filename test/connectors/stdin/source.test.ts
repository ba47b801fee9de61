import { PassThrough, Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import type { StdinSourceConfig } from '../../../src/generated/config-types.ts'
import stdin, { stdinSource } from '../../../src/connectors/stdin/source.ts'
import { fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { readAll, sourceConformance } from '../../conformance/source.ts'
import { eventually } from '../../support/eventually.ts'

const config = (o: Partial<StdinSourceConfig> = {}): StdinSourceConfig => ({
  format: 'jsonl',
  delimiter: ',',
  quoting: 'double',
  trailing_delimiter: false,
  skip_lines: 0,
  line_break: 'auto',
  encoding: 'auto',
  max_line_size: 1 << 20,
  ...o,
})
const { signal } = new AbortController()

let input = new PassThrough()
sourceConformance('stdin', {
  plugin: stdin,
  create: (c, ctx) => stdinSource(c, ctx, () => input),
  async prepare(records) {
    input = new PassThrough()
    input.end(records.map(r => `${r}\n`).join(''))
    return { config: config() }
  },
  async prepareEndless() {
    input = new PassThrough()
    return config()
  },
})

async function open(stream: Readable, o: Partial<StdinSourceConfig> = {}) {
  const source = stdinSource(config(o), fakeSourceContext('stdin'), () => stream)
  await source.open!(signal)
  return source
}
const all = async (chunks: (string | Buffer)[], o?: Partial<StdinSourceConfig>) =>
  (await readAll(await open(Readable.from(chunks, { objectMode: false }), o))).flatMap(b =>
    b.messages.map(m => [m.offset, m.failure?.message ?? (m.changed ? m.value : m.payload!.toString())]),
  )

describe('stdin', () => {
  test('lines can span chunks; the last one needs no line break; blank lines are skipped', async () => {
    expect(await all(['{"a', '":1}\r\n\n', '2\n3'])).toEqual([
      [1, '{"a":1}'],
      [3, '2'],
      [4, '3'],
    ])
  })

  test('csv and text', async () => {
    expect(await all(['a,b\n1,"2\n', '3"\n'], { format: 'csv' })).toEqual([[2, { a: '1', b: '2\n3' }]])
    expect(await all(['x y\n'], { format: 'text' })).toEqual([[1, 'x y']])
  })

  test('a chunk that arrives between reads is kept, and no data is read ahead of demand', async () => {
    const stream = new PassThrough({ highWaterMark: 10 })
    const source = await open(stream)
    const abort = new AbortController()
    const read = source.read(abort.signal)
    const failed = expect(read).rejects.toThrow('stopping')
    await eventually(() => expect(source.caughtUp!('stdin')).toBe(true), { interval: 1 })
    abort.abort(new Error('stopping'))
    await failed
    expect(stream.write('1\n2\n3\n4\n5\n6\n')).toBe(false) // full: the writer has to wait
    expect(source.caughtUp!('stdin')).toBe(false)
    expect((await source.read(signal))!.messages).toHaveLength(6)
    stream.end('7\n')
    expect((await source.read(signal))!.messages[0].offset).toBe(7)
    expect(await source.read(signal)).toBe(null)
    await source.close!()
  })

  test('a broken input is an environment error', async () => {
    const stream = new PassThrough()
    const source = await open(stream)
    const failed = expect(source.read(signal)).rejects.toMatchObject({ code: 'PIPE_ENVIRONMENT', message: "can't read stdin: gone" })
    stream.destroy(new Error('gone'))
    await failed
    await source.close!()
  })
})
