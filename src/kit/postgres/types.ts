/** Converts between JavaScript values and PostgreSQL's text format: no exact value is converted to a float. */
import { isPlain } from '../../contract/json.ts'
import type { Param, Value } from './driver.ts'

export const OID = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  oid: 26,
  json: 114,
  float4: 700,
  float8: 701,
  bpchar: 1042,
  date: 1082,
  timestamp: 1114,
  timestamptz: 1184,
  numeric: 1700,
  uuid: 2950,
  jsonb: 3802,
} as const

/** Arrays whose elements stay text: all built-in types but box, whose elements are separated by semicolons. */
const TEXT_ARRAYS = [
  143, 271, 629, 651, 719, 775, 791, 1002, 1003, 1009, 1011, 1014, 1015, 1017, 1018, 1019, 1027, 1040, 1041, 1183, 1187, 1270, 1561, 1563,
  2951, 3221, 3643, 3645, 3905, 3907, 3909, 3911, 3913, 3927, 4073, 6150, 6151, 6152, 6153, 6155, 6157,
]

/** Array type → element type, for arrays that are returned as lists. Types that a database defines have other OIDs: their arrays stay text. */
export const ARRAYS: Readonly<Record<number, number>> = {
  ...Object.fromEntries(TEXT_ARRAYS.map(type => [type, OID.text])),
  199: OID.json,
  1000: OID.bool,
  1001: OID.bytea,
  1005: OID.int2,
  1007: OID.int4,
  1016: OID.int8,
  1021: OID.float4,
  1022: OID.float8,
  1028: OID.oid,
  1115: OID.timestamp,
  1182: OID.date,
  1185: OID.timestamptz,
  1231: OID.numeric,
  3807: OID.jsonb,
}

export function decode(type: number, text: string): Value {
  switch (type) {
    case OID.bool:
      return text === 't'
    case OID.int2:
    case OID.int4:
    case OID.oid:
      return Number(text)
    case OID.float4:
    case OID.float8: {
      const n = Number(text)
      return isPlain(n, text) ? n : text
    }
    case OID.bytea:
      return Buffer.from(text.slice(2), 'hex')
  }
  const element = ARRAYS[type]
  return element === undefined ? text : decodeArray(element, text)
}

/** `{1,NULL,"a \" b",{…}}`; bounds such as `[0:2]={…}` are dropped. */
function decodeArray(element: number, text: string): Value[] {
  let i = text.indexOf('{')
  const list = (): Value[] => {
    const values: Value[] = []
    i++
    while (i < text.length && text[i] !== '}') {
      if (text[i] === '{') values.push(list())
      else if (text[i] === '"') values.push(decode(element, quoted()))
      else {
        const end = /[,}]/g
        end.lastIndex = i
        const bare = text.slice(i, end.exec(text)!.index)
        i += bare.length
        values.push(bare === 'NULL' ? null : decode(element, bare))
      }
      if (text[i] === ',') i++
    }
    i++
    return values
  }
  const quoted = (): string => {
    let value = ''
    for (i++; text[i] !== '"'; i++) {
      if (text[i] === '\\') i++
      value += text[i]
    }
    i++
    return value
  }
  return list()
}

/** A parameter in text format; null: NULL. */
export function encode(param: Param): string | null {
  if (param === null || param === undefined) return null
  if (typeof param === 'string') return param
  if (Buffer.isBuffer(param)) return `\\x${param.toString('hex')}`
  if (Array.isArray(param)) return encodeArray(param)
  return Object.is(param, -0) ? '-0' : String(param as number | bigint | boolean)
}

function encodeArray(list: readonly Param[]): string {
  let text = '{'
  for (let i = 0; i < list.length; i++) {
    if (i > 0) text += ','
    const item = list[i]
    if (Array.isArray(item)) text += encodeArray(item)
    else {
      const value = encode(item)
      text +=
        value === null ? 'NULL' : /^[\w.+:-]+$/.test(value) && !/^null$/i.test(value) ? value : `"${value.replaceAll(/["\\]/g, '\\$&')}"`
    }
  }
  return `${text}}`
}
