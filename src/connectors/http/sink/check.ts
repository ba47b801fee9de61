/** `runner check`: tests the connection without a request, which could change something. */
import { connect, isIP } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { HttpSinkConfig } from '../../../generated/config-types.ts'
import type { CheckResult, CheckContext } from '../../../contract/plugin.ts'
import { tlsFailure } from '../../../kit/tls-failure.ts'
import { TLS_ADVICE } from './tls-advice.ts'

export function checkHost({ url }: HttpSinkConfig, { signal }: CheckContext): Promise<CheckResult[]> {
  const { protocol, hostname, port, host } = new URL(url.replaceAll(/[{}]/g, '_'))
  const what = `connection to ${host}`
  return new Promise(resolve => {
    const secure = protocol === 'https:'
    const name = hostname.replace(/^\[|\]$/g, '')
    const address = { host: name, port: Number(port) || (secure ? 443 : 80), timeout: 5000 }
    const socket = secure ? connectTls({ ...address, servername: isIP(name) === 0 ? name : '' }) : connect(address)
    const end = (ok: boolean, detail?: string, fix = `see that ${host} is up, or correct url`): void => {
      socket.destroy()
      resolve([{ what, ok, detail, ...(!ok && { fix }) }])
    }
    socket.once(secure ? 'secureConnect' : 'connect', () => end(true))
    socket.once('timeout', () => end(false, 'no answer within 5 s'))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      const failure = secure ? tlsFailure(error, TLS_ADVICE) : undefined
      end(false, failure?.what ?? error.code ?? error.message, failure?.fix)
    })
    signal.addEventListener('abort', () => end(false, 'given up'), { once: true })
  })
}
