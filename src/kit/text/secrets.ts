/**
 * Values that are never printed: those that a schema marks `secret`, and those that came from variables and files into a setting that is
 * not `public`. One list for the process, used by everything that prints: logs, problems, reports, status pages, headers of dead letters.
 */

/** Printed instead of a secret. */
export const MASK = '***'

/** A shorter value is masked only where its setting is shown: replacing every `on` would make logs unreadable. */
const SHORTEST = 6

const known = new Set<string>()
let pattern: RegExp | undefined

/** From now on `redact` masks it, also as written in JSON and in a URL. */
export function addSecret(value: string): void {
  for (const part of value.includes('\n') ? [value, ...value.split(/\r?\n/)] : [value]) {
    const text = part.trim()
    if (text.length < SHORTEST || known.has(text)) continue
    for (const form of [text, JSON.stringify(text).slice(1, -1), encoded(text)]) known.add(form)
    pattern = undefined
  }
}

function encoded(text: string): string {
  try {
    return encodeURIComponent(text)
  } catch {
    return text // half of a surrogate pair
  }
}

/** The text with every known secret replaced by `***`. */
export function redact(text: string): string {
  if (known.size === 0) return text
  // Longest first, because one may be a part of another.
  pattern ??= new RegExp(
    [...known]
      .toSorted((a, b) => b.length - a.length)
      .map(escape)
      .join('|'),
    'g',
  )
  return text.replace(pattern, MASK)
}

const escape = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\/-]/g, String.raw`\$&`)

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i

interface Address {
  /** Position of the password, if there is one. */
  readonly password?: readonly [from: number, to: number]
  /** Position of host and port. */
  readonly host: readonly [from: number, to: number]
  /** The start of the query, or the end of the text. */
  readonly query: number
}

/** Undefined: the text is not a URL. Passwords that contain an unencoded `/` or `@` are found, too. */
function addressOf(text: string): Address | undefined {
  const scheme = SCHEME.exec(text)?.[0].length
  if (scheme === undefined) return undefined
  const query = /[?#]|$/.exec(text)!.index
  const slash = text.indexOf('/', scheme)
  const authority = slash < 0 || slash > query ? query : slash
  let at = text.lastIndexOf('@', authority - 1)
  if (at < scheme) {
    // `user:pa/ss@host`, unless that is a port and a path with an `@`.
    const late = text.lastIndexOf('@')
    if (late > authority && /^[^/:]*:(?!\d{1,5}\/)/.test(text.slice(scheme))) at = late
  }
  const from = at < scheme ? scheme : at + 1
  const end = /[/?#]|$/.exec(text.slice(from))!.index + from
  const colon = text.indexOf(':', scheme)
  return {
    ...(at >= scheme && colon >= 0 && colon < at ? { password: [colon + 1, at] as const } : {}),
    host: [from, end],
    query: Math.max(end, text.indexOf('?', end) < 0 ? text.length : text.indexOf('?', end)),
  }
}

/**
 * The problem of a URL whose user name or password contains `/`, `?` or `#` unencoded: the rest of the password would be used, and shown, as
 * the host and the path. Undefined: it has none.
 */
export function credentialsMistake(url: string): string | undefined {
  const from = SCHEME.exec(url)?.[0].length ?? 0
  const rest = /[/?#].*/s.exec(url.slice(from))?.[0] ?? ''
  // `?user=me@server` is a value of the query.
  return rest.includes('@') && !/^[^@]*\?[^@]*=/.test(rest)
    ? 'has an unencoded character in its user name or password: write / as %2F, ? as %3F, # as %23 and @ as %40'
    : undefined
}

/** A URL without its password and the values of its query; names of variables stay. Any other text is unchanged. */
export function maskUrl(text: string): string {
  const address = addressOf(text)
  if (address === undefined) return text
  const { password, query } = address
  const shown = text
    .slice(query)
    .replaceAll(
      /([?&;][^=&;#]*=)([^&;#]*)/g,
      (_, name: string, value: string) => name + (isPublic(name.slice(1, -1)) ? value : masked(value)),
    )
  return (
    (password ? `${text.slice(0, password[0])}${masked(text.slice(...password))}${text.slice(password[1], query)}` : text.slice(0, query)) +
    shown
  )
}

/** Modes of connections, which are not secrets: masking their words would make errors about them unreadable. */
const isPublic = (name: string): boolean => ['sslmode', 'ssl', 'channel_binding'].includes(name)

const masked = (value: string): string => (/^\$\{[A-Za-z_]\w*\}$/.test(value) ? value : MASK)

/** Where a piece of a text came from outside. */
export interface Piece {
  readonly at: number
  readonly to: number
}

/**
 * The parts of a secret text to mask: of a URL or a DSN its password and its query, of any other text all of it. `pieces`: only the parts
 * from outside are secret, including the path of a URL from outside, which may be a token.
 */
export function secretParts(text: string, pieces?: readonly Piece[]): string[] {
  const address = addressOf(text)
  if (address === undefined) {
    const password = /(?:^|\s)password\s*=\s*('(?:[^'\\]|\\.)*'|\S+)/i.exec(text)?.[1].replace(/^'|'$/g, '')
    if (password !== undefined && /(?:^|\s)host\s*=/i.test(text)) return [password]
    return pieces === undefined ? [text] : pieces.map(p => text.slice(p.at, p.to))
  }
  const { password, host, query } = address
  const parts: string[] = []
  if (password) {
    const raw = text.slice(...password)
    parts.push(raw, decoded(raw))
  }
  const behind = pieces === undefined ? [{ at: query, to: text.length }] : pieces
  for (const piece of behind) {
    const before = text.slice(piece.at, Math.min(piece.to, host[0]))
    const [from, to] = [Math.max(piece.at, host[1]), piece.to]
    if (pieces !== undefined && before !== '' && !SCHEME.test(before)) parts.push(before)
    if (from >= to) continue
    const value = text.slice(from, to)
    if (pieces !== undefined && value.length > 1) parts.push(value)
    for (const [, name, one] of value.matchAll(/[?&;]([^=&;#]*)=([^&;#]*)/g)) if (!isPublic(name)) parts.push(one, decoded(one))
  }
  return parts
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
