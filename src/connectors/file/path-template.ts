/**
 * Paths that depend on the message: `out/{hour}/{symbol}.jsonl`. The value of a message becomes one name in a folder: it can neither add
 * folders nor lead out of them.
 */
import { DataError, type Message } from '../../contract/plugin.ts'
import { show } from '../../kit/values/fields.ts'
import { keyField, keyText } from '../../kit/values/key.ts'

/**
 * Cuts the ISO text of a time, without `:`, which Windows does not allow in paths. Each includes the full date, so that two days never
 * share a file.
 */
const TIMES: Readonly<Record<string, number>> = { year: 4, month: 7, day: 10, hour: 13, minute: 16 }
const PLACE = /\{([^{}]*)\}/
/** The limit of most file systems. */
const MAX_NAME = 255
const MAX_PATH = 4000

export const isTemplate = (path: string): boolean => PLACE.test(path)

const namesIn = (path: string): string[] => Array.from(path.matchAll(new RegExp(PLACE, 'g')), m => m[1])

export const readsFields = (path: string): boolean => namesIn(path).some(name => TIMES[name] === undefined && !name.startsWith('@'))

/** The folder that holds all files of the template: the part before the first name with a placeholder. */
export function baseFolder(path: string): string {
  const fixed = path.slice(0, path.search(PLACE))
  const end = fixed.lastIndexOf('/')
  return end < 0 ? '.' : end === 0 ? '/' : fixed.slice(0, end)
}

/** @returns the problem of a path, if any. */
export function checkTemplate(path: string): string | undefined {
  for (const name of namesIn(path)) {
    if (name.startsWith('@') ? name !== '@key' && name !== '@topic' : !/^[^\s/\\.]+(\.[^\s/\\.]+)*$/.test(name))
      return `has {${name}}; write {year}, {month}, {day}, {hour}, {minute}, {@key}, {@topic} or a field such as {symbol}`
  }
  if (isTemplate(path) && path.slice(path.search(PLACE)).split('/').includes('..')) return 'must not contain .. after a placeholder'
  return undefined
}

/** @returns the path for a message. Throws a {DataError} if the message lacks a value that the path needs. */
export function pathMaker(template: string): (m: Message) => string {
  const base = baseFolder(template)
  const parts = template.split(new RegExp(PLACE, 'g'))
  const pieces = parts.map((piece, i) => {
    if (i % 2 === 0) return () => piece
    const make = place(piece, template)
    const startsName = parts[i - 1] === '' ? i === 1 : parts[i - 1].endsWith('/')
    return startsName ? (m: Message) => visible(make(m)) : make
  })
  return m => {
    const path = pieces.map(piece => piece(m)).join('')
    for (const name of path.slice(base.length).split('/')) {
      if (name === '..' || name === '.') throw new DataError(`path ${template} gives the name ${name}, which leads to another folder`)
      if (Buffer.byteLength(name) > MAX_NAME) throw new DataError(`path ${template} gives a name of more than ${MAX_NAME} bytes`)
    }
    if (Buffer.byteLength(path) > MAX_PATH) throw new DataError(`path ${template} gives a path of more than ${MAX_PATH} bytes`)
    return path
  }
}

function place(name: string, template: string): (m: Message) => string {
  const digits = TIMES[name]
  if (digits !== undefined) return m => timeText(m.time, template).slice(0, digits).replace(':', '-')
  const read = name === '@key' ? (m: Message) => m.key : name === '@topic' ? (m: Message) => m.origin?.topic : keyField(name)
  return m => {
    const value = read(m)
    const text = keyText(value)
    if (text === undefined || text === '')
      throw new DataError(`${name.replace('@', '')} is part of the path ${template} and must be text or a number, not ${show(value)}`)
    return escape(text)
  }
}

/** A message cannot name a hidden file or folder, such as the state directory. */
const visible = (name: string): string => (/^\.+[^.]/.test(name) ? `%2E${name.slice(1)}` : name)

/** Characters that a file system may refuse or interpret, and `%` itself, so that different texts never become the same name. */
const UNSAFE = /["%*/:<>?\\|]|\p{Cc}/gu

function escape(text: string): string {
  return text.replace(UNSAFE, c => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}

function timeText(time: number, template: string): string {
  const date = new Date(time)
  // ISO texts write years of more than four digits with a sign and six digits.
  if (Number.isNaN(date.getTime()) || time < 0 || date.getUTCFullYear() > 9999)
    throw new DataError(`the time of the message (${time}) is out of range for ${template}`)
  return date.toISOString()
}
