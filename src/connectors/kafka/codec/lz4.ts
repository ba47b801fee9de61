/** lz4 is a native add-on: no bundler can take it in, so it is looked for where the program runs, when the first batch needs it. */
import module from 'node:module'
import { EnvironmentError } from '../../../contract/plugin.ts'

interface Lz4 {
  compressFrameSync(b: Buffer): Buffer
  decompressFrameSync(b: Buffer): Buffer
}

let loaded: Lz4 | undefined

/** @throws {EnvironmentError} */
export function lz4(): Lz4 {
  try {
    return (loaded ??= module.createRequire(import.meta.url)('lz4-napi') as Lz4)
  } catch (error) {
    throw new EnvironmentError(
      `compression lz4 needs the package lz4-napi, which does not load: ${(error as Error).message.split('\n')[0]}; run: npm install lz4-napi`,
      error,
    )
  }
}
