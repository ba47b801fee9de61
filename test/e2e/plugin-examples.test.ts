/** `examples/plugins/`: each plugin runs from a folder far from this repository, as a stranger's would, and uses only what a stranger has. */
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, describe, expect, test } from 'vitest'
import { runRunner, tempDir } from '../support/runner.ts'

const EXAMPLES = join(import.meta.dirname, '../../examples/plugins')
const names = readdirSync(EXAMPLES, { withFileTypes: true }).flatMap(entry => (entry.isDirectory() ? [entry.name] : []))
const pluginOf = (name: string): string => `${name.replaceAll('-', '_')}.ts`

const servers: (Server | HttpServer)[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})
async function portOf(server: Server | HttpServer): Promise<number> {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  return (server.address() as AddressInfo).port
}

/** The files of an example, without its tests, in a folder with no node_modules near. */
function copied(name: string): string {
  const cwd = tempDir()
  cpSync(join(EXAMPLES, name), cwd, { recursive: true, filter: path => !path.endsWith('.test.ts') })
  return cwd
}

/** Runs its pipeline. @param warnings what is logged meanwhile */
async function ran(name: string, env: Record<string, string> = {}, warnings: RegExp = /^$/) {
  const cwd = copied(name)
  const { code, stdout, stderr } = await runRunner(['run', 'pipeline.yaml', '--log-level', 'warn'], { cwd, env })
  expect(stderr).toMatch(warnings)
  expect(code).toBe(0)
  return { stdout, file: (path: string): string => readFileSync(join(cwd, path), 'utf8') }
}

describe.each(names)('%s', name => {
  const plugin = pluginOf(name)

  test('imports only what is public, and Node', () => {
    const imports = [...readFileSync(join(EXAMPLES, name, plugin), 'utf8').matchAll(/from '([^']+)'/g)].map(([, from]) => from)
    const stem = plugin.replace('.ts', '')
    const allowed = ['pipeline-runner', 'pipeline-runner/kit', `./${stem}.schema.json`, `./${stem}.config.ts`]
    expect(imports.filter(from => !allowed.includes(from) && !from.startsWith('node:'))).toEqual([])
  })

  test('in another folder it is valid, its types match its schema, its tests pass, and the editor schema contains it', async () => {
    const cwd = copied(name)
    const env = { API_URL: 'http://127.0.0.1:1/', API_TOKEN: 't', FEED_PORT: '1' }
    for (const args of [
      ['validate', 'pipeline.yaml'],
      ['gen', '--check', plugin],
      ...(readdirSync(cwd).includes('pipeline.test.yaml') ? [['test', 'pipeline.test.yaml']] : []),
      ['schema', 'pipeline.yaml', '-o', 'pipeline.schema.json'],
    ]) {
      const { code, stdout, stderr } = await runRunner(args, { cwd, env })
      expect([args.join(' '), code, code === 0 ? '' : stdout + stderr]).toEqual([args.join(' '), 0, ''])
    }
    const listed = await runRunner(['list', plugin.replace('.ts', ''), '--plugins', plugin], { cwd })
    expect(listed.code).toBe(0)
  })
})

/** The values of the dead letters in a file. */
const deadValues = (lines: string): unknown[] =>
  lines
    .trimEnd()
    .split('\n')
    .map(line => (JSON.parse(line) as { value: unknown }).value)

test('on-change runs', async () => {
  const { stdout, file } = await ran('on-change')
  expect(stdout).toBe('{"door":"north","open":false}\n{"door":"south","open":true}\n{"door":"north","open":true}\n')
  expect(deadValues(file('.runner/door-changes.dlq.jsonl'))).toEqual([{ door: 'south' }])
})

test('split runs', async () => {
  const { stdout, file } = await ran('split')
  expect([stdout, file('large.jsonl')]).toEqual(['{"order":1,"amount":20}\n', '{"order":2,"amount":1200.50}\n'])
  expect(deadValues(file('.runner/orders-by-size.dlq.jsonl'))).toEqual([{ order: 3 }])
})

test('http-poll runs', async () => {
  const rows = ['{"id":1,"price":1.10}', '{"id":2,"price":9007199254740993}']
  const port = await portOf(
    createHttpServer((request, response) => {
      const after = Number(new URL(request.url!, 'http://api').searchParams.get('after'))
      if (request.headers.authorization === 'Bearer t') response.end(`[${rows.slice(after).join()}]`)
      else response.writeHead(401).end()
    }),
  )
  const { file } = await ran('http-poll', { API_URL: `http://127.0.0.1:${port}/events`, API_TOKEN: 't' })
  expect(file('events.jsonl')).toBe(rows.map(row => `${row}\n`).join(''))
})

test('tcp-lines runs', async () => {
  const long = `{"text":"${'x'.repeat(2000)}"}`
  const port = await portOf(createServer(socket => socket.end(`{"n":1}\n${long}\n{"n":2}\n`)))
  const { file } = await ran('tcp-lines', { FEED_PORT: String(port) })
  expect(file('feed.jsonl')).toBe('{"n":1}\n{"n":2}\n')
  expect(deadValues(file('feed.dlq.jsonl'))).toEqual([long.slice(0, 1024)])
})

test('http-bulk runs, and waits for a service that is busy', async () => {
  const posted: string[] = []
  let busy = 1
  const port = await portOf(
    createHttpServer((request, response) => {
      void text(request).then(body => {
        if (busy-- > 0) return response.writeHead(503).end()
        posted.push(body)
        const errors = [{ row: 1, message: 'amount must not be negative' }]
        return response.writeHead(422).end(JSON.stringify({ errors }))
      })
    }),
  )
  const env = { API_URL: `http://127.0.0.1:${port}/bulk`, API_TOKEN: 't' }
  const { file } = await ran('http-bulk', env, /^.*answers with status 503.*sink failed, trying again.*\n$/)
  expect(posted).toEqual(['[{"order":1,"amount":20},{"order":2,"amount":-1},{"order":3,"amount":1.10}]'])
  expect(deadValues(file('orders.dlq.jsonl'))).toEqual([{ order: 2, amount: -1 }])
})
