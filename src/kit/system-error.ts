/** Errors of the operating system in words: Node.js gives `ENOENT: no such file or directory, open '/x'` and `connect ECONNREFUSED 127.0.0.1:1`. */

interface SystemError {
  readonly code?: unknown
  readonly address?: unknown
  readonly port?: unknown
  readonly hostname?: unknown
  readonly cause?: unknown
  /** Of a host with several addresses, or of a client that tried several brokers. */
  readonly errors?: readonly unknown[]
}

const REASONS: Readonly<Record<string, (e: SystemError) => string>> = {
  ENOENT: () => 'the file or its folder does not exist',
  EACCES: () => 'permission denied',
  EPERM: () => 'permission denied',
  EISDIR: () => 'it is a folder',
  ENOTDIR: () => 'a part of the path is a file, not a folder',
  EEXIST: () => 'it exists already',
  ENAMETOOLONG: () => 'the path is too long',
  ELOOP: () => 'its symbolic links form a loop',
  ENOSPC: () => 'the disk is full',
  EDQUOT: () => 'the disk quota is used up',
  EROFS: () => 'the file system is read-only',
  EIO: () => 'the disk reports an error',
  EBUSY: () => 'another program uses it',
  EMFILE: () => 'too many files are open; raise the limit (ulimit -n)',
  ENFILE: () => 'too many files are open on this machine',
  ECONNREFUSED: ({ address, port }) =>
    address === undefined ? 'the connection was refused' : `nothing listens on ${String(address)}:${String(port)}`,
  ECONNRESET: () => 'the peer closed the connection',
  EPIPE: () => 'the reader closed the connection',
  ETIMEDOUT: () => 'the connection timed out',
  EHOSTUNREACH: () => 'there is no route to the host',
  ENETUNREACH: () => 'there is no route to the network',
  ENOTFOUND: ({ hostname }) => `the host name${hostname === undefined ? '' : ` ${String(hostname)}`} is unknown`,
  EAI_AGAIN: () => 'the name server did not answer',
  EADDRINUSE: () => 'another process uses the port',
  EADDRNOTAVAIL: () => 'this machine does not have the address',
}

/** The reason of an error of the system, or of its innermost known cause, with its code: `the disk is full (ENOSPC)`; else undefined. */
export function systemReason(error: unknown): string | undefined {
  let e = error as SystemError | null | undefined
  for (let depth = 0; typeof e === 'object' && e !== null && depth < 5; depth++) {
    if (typeof e.code === 'string' && Object.hasOwn(REASONS, e.code)) return `${REASONS[e.code](e)} (${e.code})`
    e = (e.cause ?? e.errors?.[0]) as SystemError | undefined
  }
  return undefined
}

/** As `systemReason`; the message of any other error. */
export const reasonOf = (error: unknown): string => systemReason(error) ?? (error instanceof Error ? error.message : String(error))
