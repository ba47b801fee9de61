/** URLs that a step requests. The texts show no part of a URL, because it may be a secret. */

/** Why these protocols cannot request it; undefined: they can. */
export function urlMistake(
  url: string,
  protocols: readonly ['http', 'https'] | readonly ['ws', 'wss'] = ['http', 'https'],
): string | undefined {
  const [plain, tls] = protocols
  const { protocol } = URL.parse(url) ?? {}
  if (protocol === `${plain}:` || protocol === `${tls}:`) return undefined
  return `must be a ${plain}:// or ${tls}:// URL with a valid host and a port up to 65535`
}

/** As `urlMistake`, for a URL that `fetch` requests: its error about a login in the URL names neither the cause nor a fix. */
export function fetchMistake(url: string): string | undefined {
  const mistake = urlMistake(url)
  if (mistake !== undefined) return mistake
  const { username, password } = new URL(url)
  return username === '' && password === '' ? undefined : 'must not contain a user name or password'
}
