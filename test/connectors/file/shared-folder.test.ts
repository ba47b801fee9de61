/** A folder that others may write to: what they put there neither ends the run nor blocks it, and links do not lead to files of others. */
import { execFileSync } from 'node:child_process'
import { lchownSync, linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import file from '../../../src/connectors/file/source.ts'
import { checkSource } from '../../../src/connectors/file/check.ts'
import { fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { readAll } from '../../conformance/source.ts'
import { tempDir } from '../../support/runner.ts'
import { sourceConfig as config } from './scratch.ts'

/** Values read with a pattern, and the log lines about skipped files. */
async function read(path: string, before: () => void = () => {}) {
  const ctx = fakeSourceContext('file')
  const skipped: string[] = []
  const log = { ...ctx.log, warn: (o: object, text: string) => void skipped.push(`${(o as { file: string }).file}: ${text}`) }
  const source = file.create(config({ path }), { ...ctx, log })
  await source.open!(AbortSignal.timeout(10_000))
  before()
  const values = (await readAll(source)).flatMap(b => b.messages.map(m => (m.value as { n: number }).n))
  await source.close!()
  return { values, skipped }
}

test('a folder, a pipe and a file that vanishes are skipped with a log line; alone they are errors', async () => {
  const dir = tempDir({ 'a.jsonl': '{"n":1}\n', 'gone.jsonl': '{"n":2}\n', 'z.jsonl': '{"n":3}\n' })
  mkdirSync(join(dir, 'folder.jsonl'))
  execFileSync('mkfifo', [join(dir, 'pipe.jsonl')])
  const { values, skipped } = await read(`${dir}/*.jsonl`, () => rmSync(join(dir, 'gone.jsonl')))
  expect(values).toEqual([1, 3])
  expect(skipped).toEqual([
    `${dir}/folder.jsonl: the file is skipped: it is a directory`,
    `${dir}/gone.jsonl: the file is skipped: the file does not exist`,
    `${dir}/pipe.jsonl: the file is skipped: it is not a regular file`,
  ])
  await expect(read(join(dir, 'pipe.jsonl'))).rejects.toThrow('pipe.jsonl: it is not a regular file; set path to a file')
  await expect(read(join(dir, 'folder.jsonl'))).rejects.toThrow('folder.jsonl: it is a directory; set path to a file')
  expect(checkSource(config({ path: `${dir}/*.jsonl` })).map(c => [c.ok, c.fix !== undefined])).toEqual([
    [true, false],
    [true, true],
    [true, true],
    [true, false],
  ])
})

/** A user that is not the one of the tests. */
const STRANGER = 54_321

test.runIf(process.getuid?.() === 0)('links of another user are followed to its own files only', async () => {
  const dir = tempDir({
    'secret/s.jsonl': '{"n":1}\n',
    'theirs.jsonl': '{"n":2}\n',
    'in/own.jsonl': '{"n":3}\n',
    'in/deep/x.jsonl': '{"n":4}\n',
  })
  const link = (target: string, name: string, owner: number): void => {
    symlinkSync(join(dir, target), join(dir, name))
    lchownSync(join(dir, name), owner, owner)
  }
  lchownSync(join(dir, 'theirs.jsonl'), STRANGER, STRANGER)
  link('secret/s.jsonl', 'in/ours.jsonl', 0)
  link('theirs.jsonl', 'in/theirs.jsonl', STRANGER)
  link('secret/s.jsonl', 'in/stolen.jsonl', STRANGER)
  link('secret', 'in/also', STRANGER)
  expect(await read(`${dir}/in/*.jsonl`)).toEqual({
    values: [1, 3, 2],
    skipped: ['stolen']
      .map(n => `${dir}/in/${n}.jsonl: the file is skipped: it is a link of another user to something that user does not own`)
      .toSorted(),
  })
  const below = await read(`${dir}/in/*/*.jsonl`)
  expect(below.values).toEqual([4])
  expect(below.skipped.join()).toMatch(/^$|also is a link of another user/)
})

test('rotated names that are links or pipes are not opened', async () => {
  const dir = tempDir({ 'app.log': '{"n":1}\n', 'secret.jsonl': '{"n":9}\n' })
  symlinkSync(join(dir, 'secret.jsonl'), join(dir, 'app.log.1'))
  execFileSync('mkfifo', [join(dir, 'app.log.2')])
  writeFileSync(join(dir, 'other.log'), '{"n":2}\n')
  linkSync(join(dir, 'other.log'), join(dir, 'app.log.old'))
  const { list } = await import('../../../src/connectors/file/rotation.ts')
  expect((await list(join(dir, 'app.log'))).map(f => f.path)).toEqual([join(dir, 'app.log.old')])
})
