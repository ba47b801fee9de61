/** What to set when TLS fails: the sink has no TLS keys, its CAs are those of Node.js. */
import type { TlsAdvice } from '../../../kit/tls-failure.ts'

export const TLS_ADVICE: TlsAdvice = {
  ca: 'set the environment variable NODE_EXTRA_CA_CERTS to a PEM file with the certificate of that CA, or NODE_OPTIONS=--use-system-ca if this machine trusts it',
  clientCertificate: 'send through a proxy that adds a client certificate: the http sink has none',
  host: 'url',
  plain: 'write http:// in url',
  tls: 'write https:// in url',
}
