/** Fixes for TLS failures. */
import { type TlsAdvice, TLS_KEYS } from '../../../kit/tls-failure.ts'

export const TLS_ADVICE: TlsAdvice = {
  ...TLS_KEYS,
  host: 'url',
  plain: 'write http:// in url',
  tls: 'write https:// in url',
}
