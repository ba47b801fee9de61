/** `runner check`: tests the connection without a request, which could change something. */
import { connect, isIP } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { HttpSinkConfig } from '../../../generated/config-types.ts'
import type { CheckResult, CheckContext } from '../../../contract/plugin.ts'
import { tlsFailure } from '../../../kit/tls-failure.ts'
import { TLS_ADVICE } from './tls-advice.ts'
import { proxyOf } from '../../../kit/http/proxy.ts'
import { hasTls, tlsOptions, type TlsKeys } from './tls-fetch.ts'
import { reasonOf } from '../../../kit/system-error.ts'

export function checkHost(config: TlsKeys & Pick<HttpSinkConfig, 'url'>, { signal }: CheckContext): Promise<CheckResult[]> {
  const { url } = config
  const { protocol, hostname, port, host } = new URL(url.replaceAll(/[{}]/g, '_'))
  const what = `connection to ${host}`
  const proxy = proxyOf(protocol)
  // On a network with a proxy, the proxy may be the only way out.
  if (proxy?.used) return Promise.resolve([{ what, ok: true, detail: `not checked: requests go through ${proxy.name}` }])
  const unused = proxy && `; ${proxy.name} is set but not used: to use it, set NODE_USE_ENV_PROXY=1`
  const secure = protocol === 'https:'
  let tls = {}
  try {
    if (secure && hasTls(config)) tls = tlsOptions(config)
  } catch (error) {
    return Promise.resolve([{ what, ok: false, detail: (error as Error).message, fix: 'correct the tls_* settings' }])
  }
  return new Promise(resolve => {
    const name = hostname.replace(/^\[|\]$/g, '')
    const address = { host: name, port: Number(port) || (secure ? 443 : 80), timeout: 5000 }
    const socket = secure ? connectTls({ ...address, ...tls, servername: isIP(name) === 0 ? name : '' }) : connect(address)
    const end = (ok: boolean, detail?: string, fix = `check that ${host} is running, or correct url${unused ?? ''}`): void => {
      socket.destroy()
      resolve([{ what, ok, detail, ...(!ok && { fix }) }])
    }
    socket.once(secure ? 'secureConnect' : 'connect', () => end(true))
    socket.once('timeout', () => end(false, 'no answer within 5 s'))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      const failure = secure ? tlsFailure(error, TLS_ADVICE) : undefined
      end(false, failure?.what ?? reasonOf(error), failure?.fix)
    })
    signal.addEventListener('abort', () => end(false, 'canceled'), { once: true })
  })
}
