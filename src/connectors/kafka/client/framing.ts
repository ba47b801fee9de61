/**
 * kafkajs copies every request three times through buffers that it zeroes first. The module that frames requests is replaced before the
 * module that uses it is loaded. A bundle has already joined the two, and keeps the slower framing: only speed differs. The single
 * executable is bundled with this module in its place (scripts/executable.js).
 */
import module from 'node:module'
import type { Request } from './internals.ts'

const load = module.createRequire(import.meta.url)
try {
  const path = load.resolve('kafkajs/src/protocol/request')
  load(path)
  load.cache[path]!.exports = frame
} catch (error) {
  if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error
}

export async function frame(options: {
  correlationId: number
  clientId: string
  request: Request<unknown>['request']
}): Promise<{ buffer: Buffer }> {
  const { correlationId, clientId, request } = options
  const payload = await request.encode()
  const parts = payload.parts ?? [payload.buffer]
  const idBytes = Buffer.byteLength(clientId)
  let size = 14 + idBytes
  for (const part of parts) size += part.length
  const buffer = Buffer.allocUnsafeSlow(size)
  buffer.writeInt32BE(size - 4, 0)
  buffer.writeInt16BE(request.apiKey, 4)
  buffer.writeInt16BE(request.apiVersion, 6)
  buffer.writeInt32BE(correlationId, 8)
  buffer.writeInt16BE(idBytes, 12)
  buffer.write(clientId, 14)
  let at = 14 + idBytes
  for (const part of parts) {
    buffer.set(part, at)
    at += part.length
  }
  return { buffer }
}
