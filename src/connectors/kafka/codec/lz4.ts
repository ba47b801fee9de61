/**
 * lz4 is a native add-on, which a bundler cannot include, so it is loaded from the place where the program runs, when the first batch needs
 * it. The single executable contains it.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import module from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getRawAsset, isSea } from 'node:sea'
import { EnvironmentError } from '../../../contract/plugin.ts'

interface Lz4 {
  compressFrameSync(b: Buffer): Buffer
  decompressFrameSync(b: Buffer): Buffer
}

/** scripts/executable.js embeds it under this name. */
const ASSET = 'lz4-napi.node'
let loaded: Lz4 | undefined

/** @throws {EnvironmentError} */
export function lz4(): Lz4 {
  const addOn = embedded()
  try {
    return (loaded ??= addOn ? extracted(addOn) : (module.createRequire(import.meta.url)('lz4-napi') as Lz4))
  } catch (error) {
    const why = (error as Error).message.split('\n')[0]
    if (addOn)
      throw new EnvironmentError(
        `compression lz4: cannot load the add-on from ${tmpdir()}: ${why}; set TMPDIR to a folder from which programs may run`,
        error,
      )
    throw new EnvironmentError(
      `compression lz4 needs the package lz4-napi, which cannot be loaded: ${why}; run: npm install lz4-napi`,
      error,
    )
  }
}

/** Undefined outside of a single executable, and in one that was built without it. */
function embedded(): ArrayBuffer | undefined {
  if (!isSea()) return undefined
  try {
    return getRawAsset(ASSET)
  } catch {
    return undefined
  }
}

/** The system loads add-ons from files only; a loaded one no longer needs its file. Only this user can access the folder. */
function extracted(addOn: ArrayBuffer): Lz4 {
  const folder = mkdtempSync(join(tmpdir(), 'pipeline-runner-'))
  try {
    const path = join(folder, ASSET)
    writeFileSync(path, new Uint8Array(addOn), { mode: 0o700 })
    const loading = { exports: {} }
    process.dlopen(loading, path)
    return loading.exports as Lz4
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
