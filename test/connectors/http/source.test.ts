import { readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { sign as githubSign } from '@octokit/webhooks-methods'
import { Webhook } from 'standardwebhooks'
import { afterEach, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import type { HttpSinkConfig, HttpSourceConfig } from '../../../src/generated/config-types.ts'
import sink from '../../../src/connectors/http/sink.ts'
import source from '../../../src/connectors/http/source.ts'
import { requestFile, RequestJournal } from '../../../src/connectors/http/source/request-journal.ts'
import { BatchError, ConnectionError, DataError, defineTransform, type TransformPlugin } from '../../../src/contract/plugin.ts'
import { fakeContext, fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { tempDir } from '../../support/runner.ts'
import { sourceConfig, hook as openHook, type Hook, type HookOptions, type PartialConfig } from './make.ts'

const open: Hook[] = []
afterEach(async () => {
  for (const h of open.splice(0)) await h.close()
})
async function hook(options?: HookOptions): Promise<Hook> {
  const h = await openHook(options)
  open.push(h)
  return h
}
const values = (h: Hook): string[] => h.rows.map(r => r.value)

/** Rejects negative numbers. */
const positive = defineTransform({
  type: 'positive',
  schema: {},
  create: () => ({
    process(messages, out) {
      for (const m of messages) {
        const { v } = m.value as { v: number }
        if (v < 0) out.fail(m, new DataError(`${v} is negative`))
        else out.emit(m)
      }
    },
  }),
}) as TransformPlugin

describe('bodies', () => {
  test('an array gives one message per element, with its own bytes', async () => {
    const h = await hook({ config: { key: 'id' } })
    const reply = await h.post('[{"id":"a", "amount": 1.10} ,\n{"id":7,"amount":12345678901234567890.10}]')
    expect(reply).toMatchObject({ status: 200, body: { accepted: 2 } })
    expect(h.rows).toMatchObject([
      { key: 'a', value: '{"id":"a", "amount": 1.10}' },
      { key: '7', value: '{"id":7,"amount":12345678901234567890.10}' },
    ])
  })

  test('an array in a field; a body without the field is rejected', async () => {
    const h = await hook({ config: { field: 'data.rows', key_header: 'X-Company' } })
    expect(await h.post('{"data":{"rows":[1.0,{}]}}', { 'x-company': 'acme' })).toMatchObject({ status: 200, body: { accepted: 2 } })
    expect(h.rows.map(r => [r.key, r.value])).toEqual([
      ['acme', '1.0'],
      ['acme', '{}'],
    ])
    expect(await h.post('[1]')).toMatchObject({
      status: 400,
      body: { error: { code: 'no_rows', message: 'the body must have an array at data.rows' } },
    })
  })

  test('with `count` the response counts the messages that the pipeline unnests from the body', async () => {
    const parts = defineTransform({
      type: 'parts',
      schema: {},
      create: () => ({
        process(messages, out) {
          for (const m of messages) {
            const { rows } = m.value as { rows?: number[] }
            if (!rows) out.fail(m, new DataError('rows is missing'))
            rows?.forEach((row, i) => {
              const part = m.derive(row)
              part.part = `rows[${i}]`
              if (row < 0) out.fail(part, new DataError(`${row} is negative`))
              else out.emit(part)
            })
          }
        },
      }),
    }) as TransformPlugin
    const h = await hook({ config: { count: 'rows' }, transforms: [parts] })
    expect(await h.post('{"rows":[1,2,3,4,5,6]}')).toMatchObject({ status: 200, body: { accepted: 6 } })
    expect(await h.post('{"rows":[1,-2,3,-4]}')).toMatchObject({
      status: 422,
      body: {
        accepted: 2,
        rejected: [
          { index: 0, part: 'rows[1]' },
          { index: 0, part: 'rows[3]' },
        ],
      },
    })
    expect(await h.post('[{"rows":[1,2]},{"no":1},{"rows":[]}]')).toMatchObject({
      status: 422,
      body: { accepted: 2, rejected: [{ index: 1 }] },
    })
  })

  test('lines, text, bytes and an empty body', async () => {
    const lines = await hook({ config: { format: 'ndjson', key: 'id' } })
    const reply = await lines.post('{"id":"a"}\r\n\n{"id":}\n{"no":1}\n  \n{"id":"b"}')
    expect(reply).toMatchObject({
      status: 422,
      body: {
        accepted: 2,
        rejected: [
          { index: 1, step: 'in', code: 'decode', message: 'malformed JSON at column 7: expected a value' },
          { index: 2, step: 'in', code: 'data', message: 'id is the key: it must be text or a whole number, not missing' },
        ],
      },
    })
    expect(values(lines)).toEqual(['{"id":"a"}', '{"id":"b"}'])
    const text = await hook({ config: { format: 'text' } })
    expect(await text.post('[1,\n2')).toMatchObject({ status: 200, body: { accepted: 1 } })
    const bytes = await hook({ config: { format: 'bytes' } })
    expect(await bytes.post(Buffer.from([0xff, 0x00]))).toMatchObject({ status: 200 })
    const json = await hook()
    expect(await json.post('[]')).toMatchObject({ status: 200, body: { accepted: 0 } })
    expect(await json.post('')).toMatchObject({ status: 400, body: { error: { line: 1, column: 1, offset: 0 } } })
  })

  test('a body that is not JSON is rejected with the position of the error, and no part of it is written', async () => {
    const h = await hook()
    const reply = await h.post('[{"v":1},\n {"v":2,}]')
    expect(reply).toMatchObject({ status: 400, body: { error: { code: 'not_json', line: 2, column: 9, offset: 18 } } })
    expect(values(h)).toEqual([])
  })
})

describe('rejected rows', () => {
  test.each([false, true])('are named, and the valid ones are written (dlq: %s)', async dlq => {
    const h = await hook({ transforms: [positive], dlq })
    const reply = await h.post('[{"v":1},{"v":-2},{"v":3},{"v":-4}]')
    expect(reply.status).toBe(422)
    expect(reply.body).toEqual({
      accepted: 2,
      rejected: [
        { index: 1, step: 't0', code: 'data', message: '-2 is negative' },
        { index: 3, step: 't0', code: 'data', message: '-4 is negative' },
      ],
    })
    expect(values(h)).toEqual(['{"v":1}', '{"v":3}'])
    expect(h.dead.map(m => String(m.encode()))).toEqual(dlq ? ['{"v":-2}', '{"v":-4}'] : [])
    expect(await h.post('{"v":5}')).toMatchObject({ status: 200 })
  })

  test('can be rejected by the sink; each response covers its own records', async () => {
    const written: string[] = []
    const h = await hook({
      async write(messages) {
        await new Promise(resolve => setTimeout(resolve, 20))
        const failed = new Map<number, Error>()
        messages.forEach((m, i) => ((m.value as number) < 0 ? failed.set(i, new DataError('no')) : written.push(String(m.encode()))))
        if (failed.size > 0) throw new BatchError(failed)
      },
    })
    const replies = await Promise.all(Array.from({ length: 40 }, (_, i) => h.post(`[${i + 1},${i % 2 ? 0 : -1},${i + 1}]`)))
    expect(replies.map(r => r.status)).toEqual(replies.map((_, i) => (i % 2 ? 200 : 422)))
    for (const { body } of replies.filter(r => r.status === 422))
      expect(body).toEqual({ accepted: 2, rejected: [{ index: 1, step: 'out', code: 'data', message: 'no' }] })
    expect(written).toHaveLength(40 * 2 + 20)
  })
})

describe('time of the response', () => {
  test('after the sink has written the records', async () => {
    let release!: () => void
    const gate = new Promise<void>(resolve => (release = resolve))
    const h = await hook({ write: () => gate })
    let answered = false
    const reply = h.post('1').then(r => {
      answered = true
      return r
    })
    await expect.poll(() => h.run.built.meters.sum('source', 'out')).toBe(1)
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(answered).toBe(false)
    release()
    expect(await reply).toMatchObject({ status: 200 })
  })

  test('at once: 202, and a stop still writes the accepted records', async () => {
    let release!: () => void
    const gate = new Promise<void>(resolve => (release = resolve))
    const written: string[] = []
    const h = await hook({
      config: { answer: 'at_once' },
      async write(messages) {
        await gate
        written.push(...messages.map(m => String(m.encode())))
      },
    })
    for (let i = 0; i < 700; i++) expect((await h.post(`[${i}]`)).status).toBe(202)
    h.run.stop()
    release()
    await h.ended
    expect(written).toEqual(Array.from({ length: 700 }, (_, i) => String(i)))
  })

  test('timeout: 504, and the rows are still written', async () => {
    const written: string[] = []
    const h = await hook({
      config: { answer_timeout: 50, idempotency_key: { header: 'idempotency-key', required: false, ttl: 60_000, max: 10 } },
      async write(messages) {
        await new Promise(resolve => setTimeout(resolve, 200))
        written.push(...messages.map(m => String(m.encode())))
      },
    })
    expect(await h.post('1', { 'idempotency-key': 'a' })).toMatchObject({ status: 504, body: { error: { code: 'outcome_unknown' } } })
    await expect.poll(() => written).toEqual(['1'])
    // The sender retries, and gets the result of the first attempt.
    expect(await h.post('1', { 'idempotency-key': 'a' })).toMatchObject({ status: 200 })
    expect(written).toEqual(['1'])
  })

  test('during a drain, pending requests get a response and new ones are rejected', async () => {
    let release!: () => void
    const gate = new Promise<void>(resolve => (release = resolve))
    const h = await hook({ write: () => gate })
    const first = h.post('1')
    await expect.poll(() => h.run.built.meters.sum('source', 'out')).toBe(1)
    h.run.stop()
    const turned = await h.post('2')
    expect(turned).toMatchObject({ status: 503, body: { error: { code: 'stopping' } } })
    expect(turned.headers.get('connection')).toBe('close')
    release()
    expect(await first).toMatchObject({ status: 200 })
    await h.ended
    await expect(h.post('3')).rejects.toThrow()
  })

  test('a sender in the middle of its body does not delay the end', async () => {
    const h = await hook({ shutdownTimeout: 60_000 })
    const dribble = raw(h.port, 'POST /in HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n[')
    await new Promise(resolve => setTimeout(resolve, 50))
    const started = performance.now()
    await h.close()
    expect(performance.now() - started).toBeLessThan(20_000)
    await dribble
  })

  test('the response of a pipeline that fails reports that the outcome is unknown', async () => {
    const h = await hook({ write: () => Promise.reject(new Error('broken')) })
    expect(await h.post('1')).toMatchObject({ status: 504, body: { error: { code: 'outcome_unknown' } } })
    await expect(h.ended).rejects.toThrow('broken')
  })
})

describe('idempotency key', () => {
  const idempotency_key = { header: 'Idempotency-Key', required: true, ttl: 60_000, max: 100 }

  test('a repeated request gets the same response at any time, and its records are written once', async () => {
    const h = await hook({ config: { idempotency_key }, transforms: [positive] })
    const body = '[{"v":1},{"v":-1}]'
    const together = await Promise.all([1, 2, 3].map(() => h.post(body, { 'idempotency-key': 'k' })))
    const later = await h.post(body, { 'idempotency-key': 'k' })
    for (const reply of [...together, later]) expect(reply).toMatchObject({ status: 422, body: { accepted: 1 } })
    expect(values(h)).toEqual(['{"v":1}'])
    expect(await h.post('{"v":2}', { 'idempotency-key': 'k' })).toMatchObject({
      status: 422,
      body: { error: { code: 'idempotency_key_reused' } },
    })
    expect(await h.post(body)).toMatchObject({ status: 400, body: { error: { code: 'no_idempotency_key' } } })
    expect(await h.post('{', { 'idempotency-key': 'k2' })).toMatchObject({ status: 400 })
    expect(await h.post('{"v":9}', { 'idempotency-key': 'k2' })).toMatchObject({ status: 200 })
  })

  test('a response that is removed before its ttl is logged once, with the setting to change', async () => {
    const lines: string[] = []
    const config = { idempotency_key: { ...idempotency_key, max: 1 } }
    const h = await hook({ config, log: line => lines.push(line) })
    for (const key of ['a', 'b', 'c']) await h.post('{"v":1}', { 'idempotency-key': key })
    expect(lines.filter(l => /removed the response for an idempotency key.*raise max or shorten ttl/.test(l))).toHaveLength(1)
  })

  test('messages contain the key, with the index of the row', async () => {
    const seen: unknown[] = []
    const h = await hook({
      config: { idempotency_key, headers: ['X-Request-Id'] },
      write: async messages => void seen.push(...messages.map(m => m.headers)),
    })
    await h.post('[1,2]', { 'idempotency-key': 'k', 'x-request-id': 'r' })
    const shared = [
      ['x-request-id', 'r'],
      ['idempotency-key', 'k'],
    ]
    expect(seen).toEqual([0, 1].map(i => [...shared, ['idempotency-index', String(i)]]))
  })

  test('headers and keys have the bytes received, also if they are not ASCII', async () => {
    const seen: unknown[] = []
    const h = await hook({
      config: { headers: ['x-name'], key_header: 'x-key' },
      write: async messages => void seen.push(...messages.map(m => [m.key, m.keyBytes, m.headers])),
    })
    const sent = [Buffer.from('é🙂'), Buffer.from([0x61, 0xff])]
    for (const bytes of sent) await h.post('1', { 'x-name': bytes.toString('latin1'), 'x-key': bytes.toString('latin1') })
    expect(seen).toEqual([
      ['é🙂', sent[0], [['x-name', sent[0]]]],
      ['\ufffd0x61ff', sent[1], [['x-name', sent[1]]]],
    ])
  })
})

describe('signed requests', () => {
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
  const github: PartialConfig['auth'] = { signature: { scheme: 'github', secrets: ['s3cret'], tolerance: 300_000 } }
  const standard = (id: string, body: string, at = new Date()): Record<string, string> => ({
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
  })

  test('the first example of the guide: a replay is recognized, whatever its unsigned headers', async () => {
    const guide = readFileSync(new URL('../../../docs/guide/webhooks.md', import.meta.url), 'utf8')
    const [, yaml] = /```yaml\n([\s\S]*?)```/.exec(guide)!
    const { auth } = (parse(yaml) as { sources: [{ http: PartialConfig }] }).sources[0].http
    const used = JSON.parse(JSON.stringify(auth).replaceAll('${WEBHOOK_SECRET}', secret)) as PartialConfig['auth']
    if (used?.signature) Object.assign(used.signature, { tolerance: 300_000 })
    const h = await hook({
      config: { auth: used, idempotency_key: { header: 'idempotency-key', required: false, ttl: 60_000, max: 10 } },
    })
    const body = '{"account":"a","amount":5}'
    const headers = standard('msg_1', body)
    expect(await h.post(body, headers)).toMatchObject({ status: 200, body: { accepted: 1 } })
    for (const key of ['k1', 'k2']) expect(await h.post(body, { ...headers, 'idempotency-key': key })).toMatchObject({ status: 200 })
    expect(values(h)).toEqual([body])
    // A retry of the sender: signed again, with the same id.
    expect(await h.post(body, standard('msg_1', body, new Date(Date.now() - 5000)))).toMatchObject({ status: 200 })
    expect(values(h)).toEqual([body])
    expect(await h.post(body, standard('msg_2', body))).toMatchObject({ status: 200 })
    expect(values(h)).toEqual([body, body])
  })

  test('a scheme without a time: an equal body is a replay, unless replays are accepted', async () => {
    const body = '{"v":1}'
    for (const replays of ['answer', 'accept'] as const) {
      const lines: string[] = []
      const h = await hook({ config: { auth: { ...github, replays } }, log: line => lines.push(line) })
      const signature = await githubSign('s3cret', body)
      for (const delivery of ['a', 'b', 'c'])
        expect(await h.post(body, { 'x-hub-signature-256': signature, 'x-github-delivery': delivery })).toMatchObject({ status: 200 })
      expect(values(h)).toEqual(replays === 'answer' ? [body] : [body, body, body])
      expect(h.counter('http_repeated_requests_total')).toBe(replays === 'answer' ? 2 : 0)
      expect(lines.filter(l => l.includes('request repeated'))).toHaveLength(replays === 'answer' ? 1 : 0)
    }
  })

  test('a replay of a request that failed to be written is a new attempt', async () => {
    let broken = true
    const h = await hook({
      config: { auth: github, answer_timeout: 60_000 },
      write: () => (broken ? Promise.reject(new ConnectionError('away')) : Promise.resolve()),
    })
    const headers = { 'x-hub-signature-256': await githubSign('s3cret', '1') }
    const both = [h.post('1', headers), h.post('1', headers)]
    broken = false
    for (const reply of await Promise.all(both)) expect(reply).toMatchObject({ status: 200 })
  })

  test('a rejection is counted and logged with its reason, without secrets', async () => {
    const lines: string[] = []
    const h = await hook({ config: { auth: github }, log: line => lines.push(line) })
    const good = await githubSign('s3cret', '1')
    const bad = await githubSign('another', '1')
    expect(await h.post('1')).toMatchObject({ status: 401, body: { error: { message: 'header x-hub-signature-256 is missing' } } })
    for (let i = 0; i < 3; i++) expect(await h.post('1', { 'x-hub-signature-256': bad })).toMatchObject({ status: 401 })
    expect(await h.post('1', { 'x-hub-signature-256': 'sha256=abc' })).toMatchObject({ status: 401 })
    expect(h.counter('http_auth_failures_total', { reason: 'missing_header' })).toBe(1)
    expect(h.counter('http_auth_failures_total', { reason: 'wrong_signature' })).toBe(3)
    expect(h.counter('http_auth_failures_total', { reason: 'malformed_signature' })).toBe(1)
    await h.close()
    // The first of each reason, and the count since then at the end.
    const refused = lines.filter(l => l.includes('request rejected')).map(l => JSON.parse(l) as { reason: string; count: number })
    expect(refused.map(r => [r.reason, r.count])).toEqual([
      ['missing_header', 1],
      ['wrong_signature', 1],
      ['malformed_signature', 1],
      ['wrong_signature', 2],
    ])
    for (const hidden of ['s3cret', good, bad, good.slice(7), bad.slice(7)]) expect(lines.join('')).not.toContain(hidden)
  })
})

describe('after a restart', () => {
  const github: PartialConfig['auth'] = { signature: { scheme: 'github', secrets: ['s3cret'], tolerance: 300_000 } }
  const idempotency_key = { header: 'idempotency-key', required: false, ttl: 60_000, max: 100 }
  const signed = async (body: string, more = {}): Promise<Record<string, string>> => ({
    'x-hub-signature-256': await githubSign('s3cret', body),
    ...more,
  })
  /** Requests in the file. */
  const kept = (stateDir: string): unknown => {
    const file = new DatabaseSync(join(stateDir, 'http-requests.db'), { readOnly: true })
    const { n } = file.prepare('SELECT count(*) AS n FROM request').get()!
    file.close()
    return n
  }

  test('a replay of a signed request and a repeated key get the first response; records that were not written are written', async () => {
    const stateDir = tempDir()
    const body = '[{"v":1},{"v":-1}]'
    const replay = await signed(body)
    const repeat = { ...(await signed('{"v":2}')), 'idempotency-key': 'k' }
    const first = await hook({ stateDir, config: { auth: github, idempotency_key }, transforms: [positive] })
    const answer = await first.post(body, replay)
    expect(answer).toMatchObject({ status: 422, body: { accepted: 1 } })
    expect(await first.post('{"v":2}', repeat)).toMatchObject({ status: 200 })
    expect(await first.post('{', await signed('{'))).toMatchObject({ status: 400 })
    await first.close()

    const second = await hook({ stateDir, config: { auth: github, idempotency_key }, transforms: [positive] })
    expect(await second.post(body, replay)).toMatchObject({ status: 422, body: answer.body as object })
    expect(await second.post('{"v":2}', repeat)).toMatchObject({ status: 200, body: { accepted: 1 } })
    // Another signature, the same key: the key is known, and was used for another body.
    expect(await second.post('{"v":3}', await signed('{"v":3}', { 'idempotency-key': 'k' }))).toMatchObject({
      status: 422,
      body: { error: { code: 'idempotency_key_reused' } },
    })
    expect(values(second)).toEqual([])
    expect(await second.post('{"v":4}', await signed('{"v":4}'))).toMatchObject({ status: 200 })
    expect(values(second)).toEqual(['{"v":4}'])
  })

  test('the response is on disk before it is sent, so a process killed right after it still has it', async () => {
    const stateDir = tempDir()
    const first = await hook({ stateDir, config: { auth: github } })
    const bodies = Array.from({ length: 50 }, (_, i) => `{"v":${i}}`)
    await Promise.all(bodies.map(async body => expect(await first.post(body, await signed(body))).toMatchObject({ status: 200 })))
    // As a kill leaves it: the first process still runs, and has not closed anything.
    expect(kept(stateDir)).toBe(50)
    const second = await hook({ stateDir, config: { auth: github } })
    for (const body of bodies) expect(await second.post(body, await signed(body))).toMatchObject({ status: 200 })
    expect(values(second)).toEqual([])
  })

  test('remember: memory keeps no responses across restarts, and no file', async () => {
    const stateDir = tempDir()
    const config: PartialConfig = { auth: github, remember: 'memory' }
    const first = await hook({ stateDir, config })
    await first.post('1', await signed('1'))
    await first.close()
    const second = await hook({ stateDir, config })
    expect(await second.post('1', await signed('1'))).toMatchObject({ status: 200 })
    expect(values(second)).toEqual(['1'])
    expect(readdirSync(stateDir)).toEqual([])
  })

  test('an unusable state directory ends the start, with the setting to change', async () => {
    const stateDir = join(tempDir({ file: '' }), 'file', 'state')
    const [port] = await freePorts(1)
    process.env.RUNNER_STATE_DIR = stateDir
    const made = source.create(sourceConfig({ port, auth: github }), fakeSourceContext('http') as never)
    await expect(made.open!(new AbortController().signal)).rejects.toThrow(/set RUNNER_STATE_DIR .* or set remember: memory/)
  })

  test('a write that fails is logged once and counted, and the next write includes its data', async () => {
    const stateDir = tempDir()
    const lines: string[] = []
    const first = await hook({ stateDir, config: { auth: github }, log: line => lines.push(line) })
    const file = new DatabaseSync(join(stateDir, 'http-requests.db'))
    file.exec(`CREATE TRIGGER full BEFORE INSERT ON request BEGIN SELECT RAISE(FAIL, 'no room'); END`)
    for (const body of ['1', '2']) expect(await first.post(body, await signed(body))).toMatchObject({ status: 200 })
    expect(lines.filter(l => /could not store the answered requests: no room/.test(l))).toHaveLength(1)
    expect(first.counter('runner_http_journal_errors_total')).toBe(2)
    file.exec('DROP TRIGGER full')
    await first.post('3', await signed('3'))
    file.close()
    expect(kept(stateDir)).toBe(3)
  })

  test('the end waits for a write that is blocked by another process', async () => {
    process.env.RUNNER_STATE_DIR = tempDir()
    const errors: Error[] = []
    const journal = await RequestJournal.open(0, error => errors.push(error))
    const other = new DatabaseSync(requestFile())
    other.exec('BEGIN IMMEDIATE')
    const row = { key: 'k', digest: 'd', done: 1, status: 200, body: '{}' }
    const written = journal.put('o', row, 1000)
    // It has begun, and tries again.
    await new Promise(resolve => setImmediate(resolve))
    const closed = journal.close()
    other.exec('COMMIT')
    await Promise.all([written, closed])
    expect(errors).toEqual([])
    expect(other.prepare('SELECT key FROM request').all()).toEqual([{ key: 'k' }])
    other.close()
  })

  test('entries removed from memory are removed from the file, and a signed request removed early is logged once and counted', async () => {
    const stateDir = tempDir()
    const lines: string[] = []
    const config: PartialConfig = { auth: github, idempotency_key: { ...idempotency_key, max: 2 } }
    const h = await hook({ stateDir, config, log: line => lines.push(line) })
    for (const body of ['1', '2', '3', '4', '5']) await h.post(body, await signed(body))
    expect(
      lines.filter(l => /forgot a signed request.*a replay of it would still be accepted.*the replay would be written again/.test(l)),
    ).toHaveLength(1)
    expect(h.counter('runner_http_replays_forgotten_total')).toBe(3)
    expect(kept(stateDir)).toBe(2)
  })

  test('explain shows the guarantee', () => {
    const reason = (config: PartialConfig): string =>
      (source.reason as (c: HttpSourceConfig) => string)(sourceConfig({ port: 1, ...config }))
    expect(reason({})).not.toMatch(/known/)
    expect(reason({ auth: github })).toMatch(/replays of signed requests are detected across restarts on this machine/)
    expect(reason({ auth: github, idempotency_key, remember: 'memory' })).toMatch(
      /replays of signed requests and repeats of an idempotency key are detected until the process ends/,
    )
    expect(reason({ auth: { ...github, replays: 'accept' } })).not.toMatch(/known/)
  })
})

describe('limits', () => {
  test('requests beyond the queue limit get a 503 with Retry-After, and no part of them is accepted', async () => {
    let release!: () => void
    const gate = new Promise<void>(resolve => (release = resolve))
    const written: string[] = []
    const h = await hook({
      config: { max_pending: 10 },
      async write(messages) {
        await gate
        written.push(...messages.map(m => String(m.encode())))
      },
    })
    const replies = Promise.all(Array.from({ length: 30 }, (_, i) => h.post(String(i))))
    await expect.poll(() => h.run.built.meters.sum('source', 'out')).toBeGreaterThan(0)
    const late = await h.post('99')
    expect(late).toMatchObject({ status: 503, body: { error: { code: 'busy' } } })
    expect(late.headers.get('retry-after')).toBe('1')
    release()
    const good = (await replies).filter(r => r.status === 200)
    expect(good).toHaveLength(10)
    expect(written).toHaveLength(10)
    expect(await h.post('[1,2,3,4,5,6,7,8,9,10,11,12]')).toMatchObject({ status: 200 })
  })

  test('a thousand requests at once are processed', async () => {
    const h = await hook()
    const replies = await Promise.all(Array.from({ length: 1000 }, (_, i) => h.post(String(i))))
    expect(replies.every(r => r.status === 200)).toBe(true)
    expect(
      values(h)
        .map(Number)
        .toSorted((a, b) => a - b),
    ).toEqual(Array.from({ length: 1000 }, (_, i) => i))
  })

  test('100 MB get a 413 and are not buffered, with or without a declared length', async () => {
    const h = await hook()
    const chunk = Buffer.alloc(1024 * 1024, 0x20)
    const before = process.memoryUsage().arrayBuffers
    const chunks = async function* (): AsyncGenerator<Buffer> {
      for (let i = 0; i < 100; i++) {
        yield chunk
        if (i % 10 === 0) expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40 * 1024 * 1024)
      }
    }
    const undeclared = await fetch(h.url, { method: 'POST', body: chunks() as unknown as string, duplex: 'half' } as RequestInit).catch(
      () => undefined,
    )
    if (undeclared) expect(undeclared.status).toBe(413)
    const declared = await raw(h.port, `POST /in HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${100 * 1024 * 1024}\r\n\r\n`)
    expect(declared).toMatch(/^HTTP\/1.1 413 /)
    expect(declared).toMatch(/connection: close/i)
    expect(values(h)).toEqual([])
    expect(await h.post('1')).toMatchObject({ status: 200 })
  })

  test('a body shorter than declared is rejected; after a longer one the connection ends', async () => {
    const h = await hook()
    await raw(h.port, 'POST /in HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n[1]', true)
    const longer = await raw(h.port, 'POST /in HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n2garbage\r\n\r\n')
    expect(longer).toMatch(/HTTP\/1.1 400 /)
    expect(
      await raw(
        h.port,
        'POST /in HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n\r\n',
      ),
    ).toMatch(/^HTTP\/1.1 400 /)
    expect(values(h)).toEqual(['2'])
  })

  test('other methods, other paths and compressed bodies are rejected', async () => {
    const logged: string[] = []
    const h = await hook({ config: { methods: ['POST', 'PUT'] }, log: line => void logged.push(line) })
    const get = await fetch(h.url)
    expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST, PUT'])
    await fetch(h.url, { method: 'DELETE' })
    expect(h.counter('http_requests_total', { status: '405' })).toBe(2)
    expect(logged.filter(line => line.includes('"reason":"method"'))).toEqual([
      expect.stringContaining('GET is not a method of this path: send POST, PUT'),
    ])
    expect((await fetch(`${h.url}/x`, { method: 'POST', body: '1' })).status).toBe(404)
    expect((await fetch(`${h.url}?a=b`, { method: 'PUT', body: '1' })).status).toBe(200)
    expect(await h.post('1', { 'content-encoding': 'gzip' })).toMatchObject({ status: 415 })
  })

  test('a request without a token gets a 401 before its body is read', async () => {
    const h = await hook({ config: { auth: { bearer: ['t'] } } })
    const declared = await raw(h.port, `POST /in HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${100 * 1024 * 1024}\r\n\r\n`)
    expect(declared).toMatch(/^HTTP\/1.1 401 /)
    expect(await h.post('1', { authorization: 'Bearer t' })).toMatchObject({ status: 200 })
  })
})

/** Sends bytes and collects the response until the peer closes; `hangUp`: closes by itself instead. */
function raw(port: number, text: string, hangUp = false): Promise<string> {
  return new Promise((resolve, reject) => {
    let got = ''
    const socket = connect(port, '127.0.0.1', () => (hangUp ? socket.end(text, () => socket.destroy()) : socket.write(text)))
    socket.on('data', data => (got += data.toString()))
    socket.once('close', () => resolve(got))
    socket.once('error', reject)
  })
}

test('check', async () => {
  const [h, [free]] = [await hook(), await freePorts(1)]
  const ctx = {
    step: 's',
    role: 'source',
    pipeline: 'p',
    version: 1,
    log: fakeContext('s').log,
    signal: new AbortController().signal,
  } as const
  expect(await source.check!(sourceConfig({ port: free }), ctx)).toMatchObject([{ ok: true }])
  expect(await source.check!(sourceConfig({ port: h.port }), ctx)).toMatchObject([
    { ok: false, detail: 'another process uses the port (EADDRINUSE)' },
  ])
  expect(await sink.check!({ url: `http://127.0.0.1:${h.port}/{x}` } as HttpSinkConfig, ctx)).toMatchObject([{ ok: true }])
  expect(await sink.check!({ url: `http://127.0.0.1:${free}` } as HttpSinkConfig, ctx)).toMatchObject([
    { ok: false, detail: expect.stringMatching(/^nothing listens on 127\.0\.0\.1:\d+ \(ECONNREFUSED\)$/) },
  ])
})

test('limits.depth limits each row, independent of the nesting around it', async () => {
  const nested = (depth: number): string => `${'['.repeat(depth)}1${']'.repeat(depth)}`
  const h = await hook({ depth: 300, config: { field: 'a.rows' } })
  const send = async (depth: number): Promise<number> => (await h.post(`{"a":{"rows":[${nested(depth)}]}}`)).status
  expect([await send(300), await send(301)]).toEqual([200, 400])
  expect(h.rows.map(r => r.value)).toEqual([nested(300)])
  await h.close()
})
