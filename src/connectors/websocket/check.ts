/** `runner check`: tests the handshake of the feed and the snapshots. */
import type { WebsocketSourceConfig } from '../../generated/config-types.ts'
import type { CheckResult, CheckContext } from '../../contract/plugin.ts'
import { failureOf } from '../../kit/tls-failure.ts'
import { Connection } from './connection.ts'
import { httpGet } from './http-get.ts'
import { expandUrl, symbolsOf } from './template.ts'
import { tlsOptions, type TlsOptions } from './tls.ts'

export async function checkFeed(config: WebsocketSourceConfig, { signal }: CheckContext): Promise<CheckResult[]> {
  let tls: TlsOptions
  try {
    tls = tlsOptions(config)
  } catch (error) {
    return [{ what: 'TLS files', ok: false, detail: (error as Error).message }]
  }
  const [symbol] = symbolsOf(config.symbols)
  const snapshot = config.sequence?.snapshot
  return [await handshake(config, tls, signal), ...(snapshot && symbol ? [await get(snapshot, symbol, tls, signal)] : [])]
}

async function handshake(config: WebsocketSourceConfig, tls: TlsOptions, signal: AbortSignal): Promise<CheckResult> {
  const { WebSocket } = await import('ws')
  const what = `feed ${withoutQuery(config.url)}`
  return await new Promise<CheckResult>(resolve => {
    const done = (checkFeed: CheckResult): void => {
      connection.close()
      resolve(checkFeed)
    }
    const connection = new Connection(
      WebSocket,
      {
        url: config.url,
        client: { headers: config.headers, handshakeTimeout: config.connect_timeout, maxPayload: config.max_message_size, ...tls },
        hello: [],
        pingInterval: 0,
        staleAfter: 0,
      },
      {
        opened: () => done({ what, ok: true, detail: 'handshake completed' }),
        frame: () => {},
        ended: (_, detail) => {
          const { failure } = connection
          resolve({
            what,
            ok: false,
            detail: failure?.what ?? detail,
            fix: failure?.fix ?? 'check the url, and that this machine can reach it',
          })
        },
      },
    )
    signal.addEventListener('abort', () => done({ what, ok: false, detail: 'no answer before the timeout' }), { once: true })
  })
}

async function get(
  s: NonNullable<NonNullable<WebsocketSourceConfig['sequence']>['snapshot']>,
  symbol: string,
  tls: TlsOptions,
  signal: AbortSignal,
): Promise<CheckResult> {
  const url = expandUrl(s.url, symbol)
  const what = `snapshot ${withoutQuery(url)}`
  try {
    const { body } = await httpGet(url, { headers: s.headers, tls, timeout: s.timeout, maxSize: s.max_size, signal })
    return { what, ok: true, detail: `${body.length} bytes for ${symbol}` }
  } catch (error) {
    const tls = failureOf(error)
    if (tls !== undefined) return { what, ok: false, detail: tls.what, fix: tls.fix }
    return {
      what,
      ok: false,
      detail: (error as Error).message,
      fix: `check that ${symbol} is a symbol of this exchange, and that the url is correct`,
    }
  }
}

/** Queries may contain keys. */
const withoutQuery = (url: string): string => url.split('?')[0]
