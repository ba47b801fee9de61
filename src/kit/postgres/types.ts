/** Converts between JavaScript values and PostgreSQL's text format: no exact value is converted to a float. */
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

/** Array type → element type, for arrays that are returned as lists. */
export const ARRAYS: Readonly<Record<number, number>> = {
  199: OID.json,
  1000: OID.bool,
  1001: OID.bytea,
  1005: OID.int2,
  1007: OID.int4,
  1009: OID.text,
  1014: OID.text,
  1015: OID.text,
  1016: OID.int8,
  1021: OID.float4,
  1022: OID.float8,
  1115: OID.timestamp,
  1182: OID.date,
  1185: OID.timestamptz,
  1231: OID.numeric,
  2951: OID.text,
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
      return Number.isFinite(n) ? n : text
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
  return String(param as number | bigint | boolean)
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
