/** `runner topics cat` on both logs. */
import { beforeAll, describe, expect, test } from 'vitest'
import { hexDump, jsonText, oneLine, printable } from '../../src/kit/text/printable.ts'
import { type Backend, embeddedBackend, kafkaBackend } from '../e2e/lib/backend.ts'
import { runRunner, tempDir } from '../support/runner.ts'
import { unique } from '../support/unique.ts'

describe.each(['kafka', 'embedded'] as const)('%s', name => {
  const cwd = tempDir()
  let backend: Backend
  beforeAll(async () => {
    backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
  })
  const cat = (...args: string[]) => runRunner(['topics', 'cat', ...args], { cwd, env: backend.env })
  const json = async (...args: string[]): Promise<any[]> => {
    const { code, stdout, stderr } = await cat(...args, '--json')
    expect(code, stderr).toBe(0)
    return stdout
      .split('\n')
      .filter(l => l !== '')
      .map(l => JSON.parse(l) as any)
  }

  test('records of all partitions are ordered by time, with key, headers, value and offset, byte for byte', async () => {
    const topic = await backend.topic('cat', 2)
    const time = 1_700_000_000_000
    await backend.produce(topic, [
      { partition: 0, key: 'k0', value: '{"n":0}', time, headers: { trace: 'a' } },
      { partition: 1, key: Buffer.from([0xff]), value: Buffer.from([0, 255, 10]), time: time + 1 },
      { partition: 0, key: null, value: null, time: time + 2 },
      { partition: 1, key: 'esc', value: '\u001b]0;owned\u0007::error::x\u009b31m', time: time + 3 },
    ])
    const all = await json(topic)
    expect(all.map(r => [r.partition, r.offset, r.time])).toEqual(
      [
        [0, 0],
        [1, 0],
        [0, 1],
        [1, 1],
      ].map(([p, o], i) => [p, o, new Date(time + i).toISOString()]),
    )
    expect(all[0]).toMatchObject({ topic, key: 'k0', headers: [{ name: 'trace', value: 'a' }], value: '{"n":0}' })
    expect(all[1]).toMatchObject({ key_base64: '/w==', value_base64: Buffer.from([0, 255, 10]).toString('base64') })
    expect(all[2]).toMatchObject({ key: null, value: null })
    expect(all[3].value).toBe('\u001b]0;owned\u0007::error::x\u009b31m')

    const { stdout } = await cat(topic)
    expect(stdout).toContain(`${topic}/0/0  2023-11-14T22:13:20.000Z  key k0\n  trace: a\n{"n":0}\n`)
    expect(stdout).toContain('key 0xff\n00000000  00 ff 0a')
    expect(stdout).toContain('no key\n(no value: a tombstone)\n')
    expect(stdout).toContain('\\x1b]0;owned\\x07::error::x\\x9b31m')
    // eslint-disable-next-line no-control-regex
    for (const text of [stdout, (await cat(topic, '--json')).stdout]) expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
  })

  test('--from, --limit and --partition', async () => {
    const topic = await backend.topic('cat', 2)
    const time = 1_700_000_000_000
    await backend.produce(
      topic,
      Array.from({ length: 50 }, (_, n) => ({ partition: n % 2, value: String(n), time: time + n * 1000 })),
    )
    const values = async (...args: string[]) => (await json(topic, ...args)).map(r => Number(r.value))
    expect(await values()).toEqual(Array.from({ length: 20 }, (_, n) => n))
    expect(await values('--from', '-2')).toEqual([46, 47, 48, 49])
    expect(await values('--from', '24', '--partition', '1')).toEqual([49])
    expect(await values('--from', new Date(time + 47_000).toISOString())).toEqual([47, 48, 49])
    expect(await values('--limit', '100')).toHaveLength(50)
    expect(await values('--from', '1h')).toEqual([])
    const limited = await cat(topic, '--limit', '3')
    expect(limited.stderr).toBe('warning: only the first 3 records are shown; for more, set --limit\n')
    for (const wrong of ['0', '1000000'])
      expect(await cat(topic, '--limit', wrong)).toMatchObject({ code: 2, stderr: expect.stringContaining('from 1 to 999999') })
    expect((await cat(topic, '--from', 'soon')).code).toBe(2)
    expect((await cat(topic, '--partition', '2')).stderr).toContain('there is no partition 2')
  })

  test('a missing topic is reported with a suggestion, and not created', async () => {
    const topic = await backend.topic('cat')
    const { code, stderr } = await cat(`${topic}x`)
    expect([code, stderr]).toEqual([3, expect.stringContaining(`did you mean ${topic}?`)])
    const nothing = await cat(unique('nothing'))
    expect(nothing.code).toBe(3)
    const { stdout } = await runRunner(['topics', 'list', '--json'], { cwd, env: backend.env })
    expect((JSON.parse(stdout).topics as { name: string }[]).map(t => t.name)).not.toContain(`${topic}x`)
  })
})

test('terminal control characters are escaped', () => {
  const all = Array.from({ length: 0x2100 }, (_, n) => String.fromCharCode(n)).join('')
  const bad = /[^\P{Cc}\n\t]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/u
  expect(printable(all)).not.toMatch(bad)
  expect(oneLine(all)).not.toMatch(/\p{Cc}/u)
  expect(jsonText(all)).not.toMatch(/\p{Cc}|[\u202a-\u202e]/u)
  expect(JSON.parse(jsonText(all))).toBe(all)
})

test('binary data: as many bytes as fit, and the option that prints the rest', () => {
  const line = '00000000  00 61 ff                                         .a.'
  expect(hexDump(Buffer.from([0, 0x61, 0xff]), '--raw')).toEqual([line])
  expect(hexDump(Buffer.alloc(20), '--json prints all', 16)[1]).toBe('… 4 more bytes (--json prints all)')
  expect(hexDump(Buffer.alloc(4100), '--raw gives them all').slice(-1)).toEqual(['… 4 more bytes (--raw gives them all)'])
})
