import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { networkFileSystem } from '../../src/kit/network-fs.ts'

test('a local directory, a missing one, and a path with an unknown file system', () => {
  expect(networkFileSystem(tmpdir())).toBeUndefined()
  expect(networkFileSystem(`${tmpdir()}/not/there/yet`)).toBeUndefined()
  expect(
    networkFileSystem('/a/b', () => {
      throw new Error('no statfs')
    }),
  ).toBeUndefined()
})

test.each([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  // As a signed number, which some platforms give.
  [0xff534d42 | 0, 'CIFS'],
  [0xef53, undefined],
])('%i is %s, also in a parent folder', (type, name) => {
  const typeOf = (path: string): number => {
    if (path === '/mnt/state') throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' })
    return type
  }
  expect(networkFileSystem('/mnt/state', typeOf)).toBe(name)
})
