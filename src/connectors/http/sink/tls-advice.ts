/** Fixes for TLS failures: the sink has no TLS keys and uses the CAs of Node.js. */
import type { TlsAdvice } from '../../../kit/tls-failure.ts'

export const TLS_ADVICE: TlsAdvice = {
  ca: 'set the environment variable NODE_EXTRA_CA_CERTS to a PEM file with the certificate of that CA, or NODE_OPTIONS=--use-system-ca if this machine trusts it',
  clientCertificate: 'use a proxy that adds a client certificate: the http sink cannot send one',
  host: 'url',
  plain: 'write http:// in url',
  tls: 'write https:// in url',
}
