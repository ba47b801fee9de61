import type { Writable } from 'node:stream'
import type { StdoutSinkConfig } from '../../generated/config-types.ts'
import { ConnectionError, defineSink, EnvironmentError, type Sink } from '../../contract/plugin.ts'
import { jsonLine, textLine } from '../../kit/lines/encode.ts'
import { envelopeLine } from '../../kit/lines/envelope.ts'
import schema from './sink.schema.json' with { type: 'json' }
import { reasonOf } from '../../kit/system-error.ts'

export default defineSink<StdoutSinkConfig>({
  type: 'stdout',
  schema,
  onRedelivery: 'appends',
  reason: 'a repeated write prints a second line',
  readsValue: false,
  check: async () => [{ what: 'standard output', ok: true, detail: 'always available' }],
  create: config => stdoutSink(config, () => process.stdout),
})

export function stdoutSink({ format, envelope }: StdoutSinkConfig, output: () => Writable): Sink {
  const line = envelope ? envelopeLine : format === 'text' ? textLine : jsonLine
  let stream: Writable
  let broken: Error | undefined
  const onError = (error: Error): void => {
    broken = error
  }

  return {
    async open() {
      stream = output()
      // Without a listener, a reader that closes the pipe (`| head`) would end the process at any point.
      stream.on('error', onError)
    },

    async write(messages) {
      if (messages.length === 0) return
      if (broken) throw failure(broken)
      const text = Buffer.concat(messages.flatMap(m => [asBuffer(line(m)), LF]))
      // The callback runs when the bytes have been written: waiting for it provides backpressure.
      await new Promise<void>((resolve, reject) => stream.write(text, error => (error ? reject(failure(error)) : resolve())))
    },

    healthy: () => broken === undefined,

    async close() {
      // Standard output belongs to the process and stays open. The listener stays as long as an error may arrive.
      if (broken === undefined) stream?.off('error', onError)
    },
  }
}

const LF = Buffer.from('\n')
const asBuffer = (text: Buffer | string): Buffer => (typeof text === 'string' ? Buffer.from(text) : text)

function failure(error: Error): Error {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED') return new EnvironmentError('standard output was closed by its reader', error)
  return new ConnectionError(`writing to standard output failed: ${reasonOf(error)}`, error)
}
