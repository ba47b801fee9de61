/** kafkajs' `sasl` object from our settings. */
import { addSecret } from '../../../kit/text/secrets.ts'
import { ConnectionError, EnvironmentError } from '../../../contract/plugin.ts'
import { awsRegion, type ConnectionConfig } from '../connect.ts'
import { monotonic } from '../../../kit/clock.ts'
import { readJson } from '../../../kit/http/answer.ts'
import { type TlsAdvice, tlsError, tlsFailure } from '../../../kit/tls-failure.ts'
import { reasonOf } from '../../../kit/system-error.ts'

export function saslOptions(c: ConnectionConfig): object {
  if (c.sasl_mechanism === 'AWS_MSK_IAM')
    return {
      mechanism: 'oauthbearer',
      authenticationProvider: bearer(msk(c), 'the AWS credentials, their IAM policy, the region and the clock'),
    }
  if (c.sasl_mechanism !== 'OAUTHBEARER')
    return { mechanism: c.sasl_mechanism.toLowerCase(), username: c.sasl_username, password: c.sasl_password }
  const token = c.sasl_oauth_token_url === '' ? async () => ({ value: c.sasl_oauth_token }) : clientCredentials(c)
  return { mechanism: 'oauthbearer', authenticationProvider: bearer(token, 'sasl_oauth_token') }
}

interface Exchange {
  saslAuthenticate(message: {
    request: { encode(): Promise<Buffer> }
    response: { decode(bytes: Buffer): Promise<Buffer>; parse(bytes: Buffer): Promise<void> }
  }): Promise<void>
}

/** kafkajs' own OAUTHBEARER accepts any response; a broker rejects a token with a response that contains the reason (RFC 7628, 3.2.2). */
const bearer =
  (token: () => Promise<{ value: string }>, checked: string) =>
  ({ saslAuthenticate }: Exchange) => ({
    async authenticate(): Promise<void> {
      const { value } = await token()
      const message = Buffer.from(`n,,\x01auth=Bearer ${value}\x01\x01`)
      const request = Buffer.alloc(4 + message.length)
      request.writeInt32BE(message.length)
      message.copy(request, 4)
      await saslAuthenticate({
        request: { encode: async () => request },
        response: {
          decode: async bytes => bytes,
          async parse(bytes) {
            const text = bytes?.toString() ?? ''
            const failure = text.indexOf('{')
            if (failure >= 0)
              throw new EnvironmentError(`the broker does not accept the OAUTHBEARER token: ${text.slice(failure)}; check ${checked}`)
          },
        },
      })
    },
  })

const msk = (c: ConnectionConfig) => async (): Promise<{ value: string }> => {
  const { awsCredentials, mskToken } = await import('./aws.ts')
  const credentials = awsCredentials(c)
  const value = mskToken(awsRegion(c), credentials, Date.now())
  // They need not come from a setting, so nothing else masks them.
  for (const secret of [credentials.secret, credentials.session, value]) if (secret) addSecret(secret)
  return { value }
}

/** Uses Node's fetch; the TLS settings apply to the brokers only. */
const TOKEN_TLS: TlsAdvice = {
  ca: 'set the environment variable NODE_EXTRA_CA_CERTS to a PEM file with the certificate of that CA; tls_ca applies only to the brokers',
  clientCertificate: 'use a token URL without client certificates, or sasl_oauth_token',
  host: 'sasl_oauth_token_url',
  plain: 'write http:// in sasl_oauth_token_url',
  tls: 'write https:// in sasl_oauth_token_url',
}

/** A token is renewed after four fifths of its lifetime. */
function clientCredentials(c: ConnectionConfig): () => Promise<{ value: string }> {
  let token: { value: string; until: number } | undefined
  return async () => {
    if (token !== undefined && monotonic() < token.until) return token
    const body = new URLSearchParams({ grant_type: 'client_credentials', ...(c.sasl_oauth_scope ? { scope: c.sasl_oauth_scope } : {}) })
    const authorization = `Basic ${Buffer.from(`${encodeURIComponent(c.sasl_username)}:${encodeURIComponent(c.sasl_password)}`).toString('base64')}`
    let response: Response
    let answer: unknown
    try {
      response = await fetch(c.sasl_oauth_token_url, {
        method: 'POST',
        headers: { authorization },
        body,
        signal: AbortSignal.timeout(10_000),
      })
      answer = await readJson(response)
    } catch (error) {
      const failure = tlsFailure(error, TOKEN_TLS)
      if (failure !== undefined) throw tlsError(`cannot get a token from ${c.sasl_oauth_token_url}`, failure, error)
      throw new ConnectionError(`cannot get a token from ${c.sasl_oauth_token_url}: ${reasonOf(error)}`, error)
    }
    if (!response.ok) {
      const text = `${c.sasl_oauth_token_url} returned no token: HTTP ${response.status}`
      throw response.status >= 500 ? new ConnectionError(text) : new EnvironmentError(`${text}; check sasl_username and sasl_password`)
    }
    const { access_token, expires_in } = (answer ?? {}) as { access_token?: unknown; expires_in?: unknown }
    if (typeof access_token !== 'string') throw new EnvironmentError(`${c.sasl_oauth_token_url} returned no access_token`)
    token = { value: access_token, until: monotonic() + (Number(expires_in ?? 300) || 0) * 800 }
    return token
  }
}
