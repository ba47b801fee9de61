/** File systems on which the locks and the shared memory of SQLite are not reliable between machines. */
import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'

/** By the magic numbers of `statfs(2)`. */
const NETWORK: Readonly<Record<number, string>> = {
  0x6969: 'NFS',
  0x517b: 'SMB',
  0xff534d42: 'CIFS',
  0xfe534d42: 'SMB',
  0x01021997: '9P',
  0x00c36400: 'CephFS',
  0x0bd00bd0: 'Lustre',
  0x47504653: 'GPFS',
  0x5346414f: 'AFS',
  0x7461636f: 'OCFS2',
  0x01161970: 'GFS2',
}

/** The name of the network file system of the path, or of the folder in which it would be created. Undefined: a local or unknown one. */
export function networkFileSystem(path: string, typeOf: (path: string) => number = p => statfsSync(p).type): string | undefined {
  for (let at = path; ; at = dirname(at)) {
    try {
      return NETWORK[typeOf(at) >>> 0]
    } catch {
      if (dirname(at) === at) return undefined
    }
  }
}
