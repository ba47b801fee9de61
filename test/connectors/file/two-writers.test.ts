/** A file has one writer: a second one is an error that names both, and a killed one never blocks the next. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { FileSinkConfig } from '../../../src/generated/config-types.ts'
import file from '../../../src/connectors/file/sink.ts'
import { FileWriter } from '../../../src/connectors/file/writer.ts'
import { EnvironmentError, Message, type Sink } from '../../../src/contract/plugin.ts'
import { claimFile } from '../../../src/kit/claim-file.ts'
import { fakeContext, writeContext } from '../../../src/testing/conformance/context.ts'
import { eventually } from '../../support/eventually.ts'
import { scratch } from './scratch.ts'

const at = scratch()
const root = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url))
let n = 0
const fresh = (): string => at(`out-${n++}.jsonl`)
const sink = (path: string, step = 'out', more: Partial<FileSinkConfig> = {}, log = fakeContext(step).log): Sink =>
  file.create({ path, format: 'auto', fsync: 'never', max_open_files: 2, ...more } as FileSinkConfig, { ...fakeContext(step), log }) as Sink
const write = (to: Sink, ...values: unknown[]): Promise<void> =>
  to.write(
    values.map(v => new Message(v)),
    writeContext(),
  )
const lines = (path: string): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1)
const hidden = (): string[] => readdirSync(at('')).filter(name => name.startsWith('.'))

test('a second step of this process is an error that names the first; the first is not affected', async () => {
  const path = fresh()
  symlinkSync(path, `${path}.link.jsonl`)
  const first = sink(path)
  await first.open!(new AbortController().signal)
  await write(first, 1)
  for (const name of [path, `${path}.link.jsonl`]) {
    const error = await Promise.resolve(sink(name, 'other').open!(new AbortController().signal)).catch((e: Error) => e)
    expect(error).toBeInstanceOf(EnvironmentError)
    expect((error as Error).message).toBe(
      `${name} is being written by step 'out' of pipeline 'test', in this process: two writers could cut each other's lines; write to another file, or stop the other writer first`,
    )
  }
  await write(first, 2)
  const closed = first.close!()
  // Not an error, because the first is closing.
  const second = sink(path, 'other')
  await second.open!(new AbortController().signal)
  await closed
  await write(second, 3)
  await second.close!()
  expect(lines(path)).toEqual(['1', '2', '3'])
  expect(hidden()).toEqual([])
})

test('what the former writer appends while the next one waits for it is kept', async () => {
  const path = fresh()
  writeFileSync(path, 'a,b\n1,')
  const log = fakeContext('out').log
  const first = await claimFile(path, 'the first', log)
  const closed = Promise.withResolvers<void>()
  const waits = vi.spyOn(closed.promise, 'catch')
  first.closing(closed.promise)
  const next = new FileWriter({ path, sync: false, isWhole: () => false, writer: 'the next', log })
  const opening = next.open()
  await expect.poll(() => waits.mock.calls.length).toBe(1)
  writeFileSync(path, '2\n3,4\n', { flag: 'a' })
  first.release()
  closed.resolve()
  await opening
  await next.write(() => Buffer.from('5,6\n'))
  await next.close()
  expect(lines(path)).toEqual(['a,b', '1,2', '3,4', '5,6'])
})

test('files that are closed to make room are opened again by the same step', async () => {
  const folder = at(`many-${n++}`)
  const many = sink(`${folder}/{name}.jsonl`, 'out', { max_open_files: 2 })
  await many.open!(new AbortController().signal)
  const names = ['a', 'b', 'c', 'd', 'e']
  for (let i = 0; i < 6; i++) await write(many, ...names.map(name => ({ name, i })))
  await many.close!()
  for (const name of names)
    expect(lines(`${folder}/${name}.jsonl`)).toEqual(Array.from({ length: 6 }, (_, i) => JSON.stringify({ name, i })))
  expect(readdirSync(folder).toSorted()).toEqual(names.map(name => `${name}.jsonl`))
})

test('a second process is an error that names the first; after SIGKILL the file is free, and its torn line is removed', async () => {
  const path = fresh()
  writeFileSync(at('w.yaml'), `name: w\nsources:\n  - stdin: {}\nsinks:\n  - name: lines\n    file: ${path}\n`)
  const child = spawn(process.execPath, [root('bin/runner.js'), 'run', at('w.yaml')], { cwd: at(''), stdio: ['pipe', 'ignore', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  child.stdin.write('{"a":1}\n')
  await eventually(() => expect(lines(path)).toEqual(['{"a":1}']))
  // As it is in the middle of a write.
  writeFileSync(path, '{"a":2,', { flag: 'a' })
  await expect(sink(path, 'other').open!(new AbortController().signal)).rejects.toThrow(
    new RegExp(`${path} is being written by step 'lines' of pipeline 'w' \\(process ${child.pid} on .+, since 2.+\\): two writers`),
  )
  expect(readFileSync(path, 'utf8')).toBe('{"a":1}\n{"a":2,')
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(hidden()).not.toEqual([])
  const next = sink(path)
  await next.open!(new AbortController().signal)
  await write(next, { a: 3 })
  await next.close!()
  expect(lines(path)).toEqual(['{"a":1}', '{"a":3}'])
  expect(hidden().filter(name => name !== '.runner')).toEqual([])
})

test('of several processes that open and close one file, never two have it', async () => {
  const path = fresh()
  writeFileSync(path, '')
  const script = `
    import { mkdirSync, rmdirSync } from 'node:fs'
    const { claimFile } = await import(${JSON.stringify(new URL('../../../src/kit/claim-file.ts', import.meta.url).href)})
    const log = { warn(fields, text) { console.log(text, fields); process.exit(3) } }
    let had = 0
    for (let i = 0; had < 40 && i < 1e6; i++) {
      let own
      try {
        own = await claimFile(${JSON.stringify(path)}, 'me', log)
      } catch (error) {
        if (!/is being written/.test(error.message)) throw error
        continue
      }
      mkdirSync(${JSON.stringify(`${path}.owned`)})
      rmdirSync(${JSON.stringify(`${path}.owned`)})
      own.release()
      had++
    }
    process.exit(had < 40 ? 4 : 0)`
  const children = Array.from({ length: 3 }, () =>
    spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] }),
  )
  const results = await Promise.all(
    children.map(async (child: ChildProcess) => {
      let text = ''
      child.stderr!.on('data', chunk => (text += chunk))
      child.stdout!.on('data', chunk => (text += chunk))
      const [code] = await once(child, 'close')
      return code === 0 ? 'ok' : `${code}: ${text}`
    }),
  )
  expect(results).toEqual(['ok', 'ok', 'ok'])
  expect(hidden().filter(name => name.includes(basename(path)))).toEqual([])
})

test('where no lock file can be created, the file is written and a warning says what is not detected', async () => {
  const path = fresh()
  mkdirSync(at(`.${basename(path)}.lock`))
  const warnings: string[] = []
  const log = { ...fakeContext('out').log, warn: (_: object, text: string) => void warnings.push(text) }
  const out = sink(path, 'out', {}, log)
  await out.open!(new AbortController().signal)
  await write(out, 1)
  await out.close!()
  expect(lines(path)).toEqual(['1'])
  expect(warnings).toEqual(['a second process that writes this file cannot be detected: no lock file can be created beside it'])
})

test('without its note, which a full disk may prevent, the lock works and is released', async () => {
  const path = fresh()
  const note = at(`.${basename(path)}.lock.json`)
  // Not writable for any user.
  mkdirSync(note)
  const warnings: string[] = []
  const log = { ...fakeContext('out').log, warn: (_: object, text: string) => void warnings.push(text) }
  for (const value of [1, 2]) {
    const out = sink(path, 'out', {}, log)
    await out.open!(new AbortController().signal)
    expect(hidden()).toContain(`.${basename(path)}.lock`)
    await write(out, value)
    await out.close!()
  }
  expect(lines(path)).toEqual(['1', '2'])
  expect(warnings).toEqual([])
})
