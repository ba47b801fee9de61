/** Errors of the operating system in words, from calls that really fail. */
import { readFileSync, writeFileSync } from 'node:fs'
import { lookup } from 'node:dns/promises'
import { connect, createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { reasonOf, systemReason } from '../../src/kit/system-error.ts'
import { tempDir } from '../support/runner.ts'

const thrownBy = async (work: () => unknown): Promise<unknown> => {
  try {
    await work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

test('errors of files', async () => {
  const folder = tempDir({ file: '' })
  for (const [work, expected] of [
    [() => readFileSync(join(folder, 'none')), 'the file or its folder does not exist (ENOENT)'],
    [() => readFileSync(folder), 'it is a folder (EISDIR)'],
    [() => readFileSync(join(folder, 'file/x')), 'a part of the path is a file, not a folder (ENOTDIR)'],
    [() => writeFileSync('/dev/full', 'x'), 'the disk is full (ENOSPC)'],
    [() => readFileSync(join(folder, 'x'.repeat(300))), 'the path is too long (ENAMETOOLONG)'],
  ] as const)
    expect(reasonOf(await thrownBy(work))).toBe(expected)
})

test('errors of connections, also as the cause of another error or for one of several addresses', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const taken = await thrownBy(() => once(createServer().listen(port, '127.0.0.1'), 'listening'))
  expect(reasonOf(taken)).toBe('another process uses the port (EADDRINUSE)')
  await new Promise(resolve => server.close(resolve))
  const refused = await thrownBy(() => once(connect(port, '127.0.0.1'), 'connect'))
  const expected = `nothing listens on 127.0.0.1:${port} (ECONNREFUSED)`
  expect(reasonOf(refused)).toBe(expected)
  expect(reasonOf(await thrownBy(() => fetch(`http://127.0.0.1:${port}`)))).toBe(expected)
  expect(reasonOf(new AggregateError([refused]))).toBe(expected)
  expect(reasonOf(await thrownBy(() => lookup('none.invalid')))).toMatch(
    /^(?:the host name none\.invalid is unknown|the name server did not answer) \(E/,
  )
})

test('any other error keeps its message', () => {
  expect(reasonOf(new Error('own text'))).toBe('own text')
  expect(reasonOf('text')).toBe('text')
  expect([
    systemReason(new Error('own text')),
    systemReason(Object.assign(new Error(), { code: 'PIPE_DATA' })),
    systemReason(null),
  ]).toEqual([undefined, undefined, undefined])
})
