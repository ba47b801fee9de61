/** Formats of JSON Schema. Each takes linear time: no regular expression here can match a text in several ways. */
import { isAscii } from 'node:buffer'
import { isIPv4 } from 'node:net'
import { domainToASCII, domainToUnicode } from 'node:url'
import { compareNumbers, ExactNumber } from '../../contract/plugin.ts'
import { isInteger } from './values.ts'

export type Format = { readonly string: (text: string) => boolean } | { readonly number: (value: number | ExactNumber) => boolean }

const text = (string: (text: string) => boolean): Format => ({ string })
const regular = (expression: RegExp): Format => ({ string: t => expression.test(t) })
const integer = (min: number | ExactNumber, max: number | ExactNumber): Format => ({
  number: v => isInteger(v) && compareNumbers(v, min) >= 0 && compareNumbers(v, max) <= 0,
})

const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

function date(t: string): boolean {
  const [, y, m, d] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(t) ?? []
  if (y === undefined) return false
  const leap = Number(y) % 4 === 0 && (Number(y) % 100 !== 0 || Number(y) % 400 === 0)
  const days = m === '02' && leap ? 29 : DAYS[Number(m) - 1]
  return days !== undefined && Number(d) >= 1 && Number(d) <= days
}

/** RFC 3339: a leap second is the last one of a UTC day. */
const time =
  (needsZone: boolean) =>
  (t: string): boolean => {
    const found = /^(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[zZ]|([+-])(\d\d):(\d\d))?$/.exec(t)
    if (!found) return false
    const [h, m, s] = [Number(found[1]), Number(found[2]), Number(found[3])]
    const [zh, zm] = [Number(found[5] ?? 0), Number(found[6] ?? 0)]
    if (needsZone && found[4] === undefined && !/[zZ]$/.test(t)) return false
    if (h > 23 || m > 59 || s > 60 || zh > 23 || zm > 59) return false
    if (s < 60) return true
    const offset = (zh * 60 + zm) * (found[4] === '-' ? -1 : 1)
    return (((h * 60 + m - offset) % 1440) + 1440) % 1440 === 1439
  }

const dateTime = (needsZone: boolean): ((t: string) => boolean) => {
  const rest = time(needsZone)
  // RFC 3339 allows a space instead of the T.
  return t => /^[tT ]$/.test(t[10] ?? '') && date(t.slice(0, 10)) && rest(t.slice(11))
}

const ascii = (t: string): boolean => isAscii(Buffer.from(t))

const LABEL = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/i
function hostname(t: string): boolean {
  if (t.length > 253) return false
  return t.split('.').every(label => label.length <= 63 && LABEL.test(label) && (!/^xn--/i.test(label) || isALabel(label)))
}

/** An internationalized host name, RFC 5890. The dots of IDNA 2003 also separate labels. */
function isIdn(t: string): boolean {
  const labels = t.split(/[.\u3002\uff0e\uff61]/)
  if (labels.join('.').length > 253) return false
  // RFC 5893: if a label is right-to-left, no label begins with a digit.
  if (/[\p{Script=Hebrew}\p{Script=Arabic}]/u.test(t) && labels.some(l => /^\d/.test(l))) return false
  return labels.every(label =>
    ascii(label) ? hostname(label) : isULabel(label) && domainToASCII(label).length <= 63 && domainToASCII(label) !== '',
  )
}

function isALabel(label: string): boolean {
  const unicode = domainToUnicode(label)
  return unicode !== '' && !ascii(unicode) && isULabel(unicode) && domainToASCII(unicode) === label.toLowerCase()
}

/** The rules of RFC 5891 and RFC 5892 that `domainToASCII` does not check. */
function isULabel(label: string): boolean {
  if (label.slice(2, 4) === '--' || /^-|-$|^\p{M}/u.test(label)) return false
  // Disallowed exceptions, and characters that are not letters, digits or marks.
  if (
    /[\u0640\u07fa\u302e\u302f\u3031-\u3035\u303b]/.test(label) ||
    !/^[\p{L}\p{M}\p{N}\u00b7\u0375\u05f3\u05f4\u06fd\u06fe\u0f0b\u30fb-]+$/u.test(label.replaceAll(/\u200c|\u200d/g, ''))
  )
    return false
  // Middle dot, keraia, geresh, katakana dot.
  if (
    /(?<!l)\u00b7|\u00b7(?!l)/.test(label) ||
    /\u0375(?!\p{Script=Greek})/u.test(label) ||
    /(?<!\p{Script=Hebrew})[\u05f3\u05f4]/u.test(label)
  )
    return false
  if (label.includes('\u30fb') && !/[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/u.test(label.replaceAll('\u30fb', '')))
    return false
  if (/[\u0660-\u0669]/.test(label) && /[\u06f0-\u06f9]/.test(label)) return false
  // Joiners follow a virama; the non-joiner may also be between letters that join.
  if (/(?<![\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca\u0e3a\u0f84\u1039])\u200d/u.test(label)) return false
  return (
    !/(?<![\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca\u0e3a\u0f84\u1039])\u200c/u.test(label) ||
    /^\p{Script=Arabic}+\u200c\p{Script=Arabic}+$/u.test(label)
  )
}

function ipv6(t: string): boolean {
  if (!/^[0-9a-fA-F:.]{2,45}$/.test(t)) return false
  const parts = t.split('::')
  if (parts.length > 2) return false
  let groups = 0
  for (const [i, part] of parts.entries()) {
    if (part === '') continue
    const list = part.split(':')
    for (const [k, group] of list.entries()) {
      const last = i === parts.length - 1 && k === list.length - 1
      if (last && group.includes('.')) {
        if (!isIPv4(group)) return false
        groups += 2
      } else if (/^[0-9a-fA-F]{1,4}$/.test(group)) groups++
      else return false
    }
  }
  return parts.length === 2 ? groups < 8 : groups === 8
}

const ATOM = /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/i
const ATOM_UNICODE = /^[a-z0-9!#$%&'*+/=?^_`{|}~\u0080-\u{10ffff}-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~\u0080-\u{10ffff}-]+)*$/iu
const QUOTED = /^"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"$/
const QUOTED_UNICODE = /^"(?:[\x20\x21\x23-\x5b\x5d-\x7e\u0080-\u{10ffff}]|\\[\x20-\x7e])*"$/u

const email = (atom: RegExp, quoted: RegExp, host: (t: string) => boolean) => {
  return (t: string): boolean => {
    const at = t.lastIndexOf('@')
    if (at < 1) return false
    const [local, domain] = [t.slice(0, at), t.slice(at + 1)]
    if (!atom.test(local) && !quoted.test(local)) return false
    if (!domain.startsWith('[')) return host(domain)
    return domain.endsWith(']') && (domain.slice(1, 6) === 'IPv6:' ? ipv6(domain.slice(6, -1)) : isIPv4(domain.slice(1, -1)))
  }
}
const UNICODE =
  '\\u{a0}-\\u{d7ff}\\u{f900}-\\u{fdcf}\\u{fdf0}-\\u{ffef}\\u{10000}-\\u{1fffd}\\u{20000}-\\u{2fffd}\\u{30000}-\\u{3fffd}\\u{40000}-\\u{efffd}'
const PRIVATE = '\\u{e000}-\\u{f8ff}\\u{f0000}-\\u{ffffd}\\u{100000}-\\u{10fffd}'

/** The parts of RFC 3986 (RFC 3987 with `unicode`), each checked once. */
function uri(unicode: boolean, absolute: boolean): (t: string) => boolean {
  const more = unicode ? UNICODE : ''
  const chars = (extra: string): RegExp => new RegExp(`^(?:[A-Za-z0-9\\-._~!$&'()*+,;=${extra}${more}]|%[0-9A-Fa-f]{2})*$`, 'u')
  const [name, user, path, tail] = [chars(''), chars(':'), chars(':@/'), chars(':@/?')]
  const query = unicode ? new RegExp(`^(?:[A-Za-z0-9\\-._~!$&'()*+,;=:@/?${more}${PRIVATE}]|%[0-9A-Fa-f]{2})*$`, 'u') : tail
  return t => {
    const [, scheme, authority, way, ask, fragment] =
      /^(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/s.exec(t)!
    if (absolute && scheme === undefined) return false
    if (!path.test(way) || (ask !== undefined && !query.test(ask)) || (fragment !== undefined && !tail.test(fragment))) return false
    if (authority === undefined) return !(scheme === undefined && way.split('/', 1)[0].includes(':')) && !way.startsWith('//')
    const at = authority.lastIndexOf('@')
    if (at >= 0 && !user.test(authority.slice(0, at))) return false
    const [, literal, host, port] = /^(?:\[(.*)\]|([^:]*))(?::(.*))?$/s.exec(authority.slice(at + 1)) ?? []
    if (literal === undefined && host === undefined) return false
    if (port !== undefined && !/^\d*$/.test(port)) return false
    if (literal !== undefined) return ipv6(literal) || /^v[0-9a-f]+\.[a-z0-9\-._~!$&'()*+,;=:]+$/i.test(literal)
    return name.test(host)
  }
}

const absoluteUri = uri(false, true)

/** An http, https or ftp URL with a host. */
const url = (t: string): boolean => /^(?:https?|ftp):\/\/[^/?#:@]/i.test(t) && !/\s/.test(t) && uri(true, true)(t)

/** RFC 6570. */
function uriTemplate(t: string): boolean {
  const variable = /^(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})(?:\.?(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2}))*(?::[1-9]\d{0,3}|\*)?$/
  let at = 0
  while (at < t.length) {
    const open = t.indexOf('{', at)
    const literal = t.slice(at, open < 0 ? undefined : open)
    if (!/^(?:[^\p{Cc} "<>%\\^`{|}]|%[0-9A-Fa-f]{2})*$/u.test(literal)) return false
    if (open < 0) return true
    const close = t.indexOf('}', open)
    if (close < 0) return false
    const inner = t.slice(open + 1, close).replace(/^[+#./;?&=,!@|]/, '')
    if (!inner.split(',').every(v => variable.test(v))) return false
    at = close + 1
  }
  return true
}

function duration(t: string): boolean {
  if (/^P\d+W$/.test(t)) return true
  const found = /^P(\d+Y)?(\d+M)?(\d+D)?(?:T(\d+H)?(\d+M)?(\d+S)?)?$/.exec(t)
  if (!found) return false
  const [y, mo, d, h, m, s] = found.slice(1).map(p => p !== undefined)
  const days = y || mo || d
  const clock = h || m || s
  // RFC 3339, appendix A: no unit between two others is omitted.
  return (days || clock) && clock === t.includes('T') && !(y && d && !mo) && !(h && s && !m)
}

function regex(t: string): boolean {
  try {
    void new RegExp(t, 'u')
    return true
  } catch {
    return false
  }
}

const base64 = (t: string): boolean => t.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(t)
const POINTER = /^(?:\/(?:[^~/]|~[01])*)*$/

export const FORMATS: Readonly<Record<string, Format>> = {
  date: text(date),
  time: text(time(true)),
  'date-time': text(dateTime(true)),
  'iso-time': text(time(false)),
  'iso-date-time': text(dateTime(false)),
  duration: text(duration),
  uri: text(absoluteUri),
  'uri-reference': text(uri(false, false)),
  iri: text(uri(true, true)),
  'iri-reference': text(uri(true, false)),
  'uri-template': text(uriTemplate),
  url: text(url),
  email: text(email(ATOM, QUOTED, hostname)),
  'idn-email': text(email(ATOM_UNICODE, QUOTED_UNICODE, isIdn)),
  hostname: text(hostname),
  'idn-hostname': text(isIdn),
  ipv4: text(isIPv4),
  ipv6: text(ipv6),
  uuid: regular(/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i),
  regex: text(regex),
  'json-pointer': regular(POINTER),
  'json-pointer-uri-fragment': regular(/^#(?:\/(?:[a-z0-9_\-.!$&'()*+,;:=@]|%[0-9a-f]{2}|~[01])*)*$/i),
  'relative-json-pointer': regular(/^(?:0|[1-9][0-9]*)(?:#|(?:\/(?:[^~/]|~[01])*)*)$/),
  // Formats of OpenAPI.
  byte: text(base64),
  int32: integer(-(2 ** 31), 2 ** 31 - 1),
  int64: integer(new ExactNumber('-9223372036854775808'), new ExactNumber('9223372036854775807')),
  float: { number: () => true },
  double: { number: () => true },
  password: text(() => true),
  binary: text(() => true),
}
