/** `runner check`: tests the connection without a request, which could change something. */
import { connect } from 'node:net'
import type { HttpSinkConfig } from '../../../generated/config-types.ts'
import type { CheckResult, CheckContext } from '../../../contract/plugin.ts'

export function checkHost({ url }: HttpSinkConfig, { signal }: CheckContext): Promise<CheckResult[]> {
  const { protocol, hostname, port, host } = new URL(url.replaceAll(/[{}]/g, '_'))
  const what = `connection to ${host}`
  return new Promise(resolve => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port) || (protocol === 'https:' ? 443 : 80),
      timeout: 5000,
    })
    const end = (ok: boolean, detail?: string): void => {
      socket.destroy()
      resolve([{ what, ok, detail, ...(!ok && { fix: `see that ${host} is up, or correct url` }) }])
    }
    socket.once('connect', () => end(true))
    socket.once('timeout', () => end(false, 'no answer within 5 s'))
    socket.once('error', (error: NodeJS.ErrnoException) => end(false, error.code ?? error.message))
    signal.addEventListener('abort', () => end(false, 'given up'), { once: true })
  })
}
