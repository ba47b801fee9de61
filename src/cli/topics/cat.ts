/** `runner topics cat`: prints the records of a topic, as text or JSON. */
import { isUtf8 } from 'node:buffer'
import type { Header, Message } from '../../contract/plugin.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { hexDump, jsonText, oneLine, printable } from '../../kit/text/printable.ts'
import { MAX_TIME } from '../../kit/values/time.ts'
import { cat, type CatStart } from '../../operations/cat.ts'
import { connectLog } from '../../operations/connection.ts'
import { paint, printWarning } from '../output.ts'
import { timeText } from '../time-text.ts'
import type { ConnectionFlags } from '../topics.ts'

export interface CatFlags extends ConnectionFlags {
  readonly from: CatStart
  readonly limit: number
  readonly partition?: number
}

/** Bytes shown of a value that is not text. */
const HEX = 256

/** @returns the exit code. */
export async function catTopic(topic: string, { brokers, json, from, limit, partition }: CatFlags): Promise<number> {
  const { driver, release } = await connectLog(brokers)
  try {
    let shown = 0
    for await (const record of cat(driver, { topic, from, partition })) {
      if (shown === limit) {
        printWarning(`only the first ${limit} records are shown; for more, set --limit`)
        break
      }
      shown++
      const text = json ? jsonText(asJson(topic, record.partition, record.message)) : asText(topic, record.partition, record.message)
      await write(`${text}\n`)
    }
    if (shown === 0) printWarning(`there are no records in this range of ${topic}`)
    return EXIT.ok
  } finally {
    await release()
  }
}

const write = (text: string): Promise<void> =>
  new Promise((resolve, reject) => process.stdout.write(text, error => (error ? reject(error) : resolve())))

function asText(topic: string, partition: number, m: Message): string {
  const { payload, keyBytes, headers = [] } = m
  const key = keyBytes === null ? 'no key' : `key ${textOf(keyBytes)}`
  const head = `${topic}/${partition}/${m.offset}  ${timeText(m.time, 'ms')}  ${key}`
  return [
    paint('bold', head),
    ...headers.map(([name, value]) => `  ${oneLine(name)}: ${value === null ? '(null)' : textOf(bytesOf(value))}`),
    ...(m.failure ? [`  (cannot be decoded: ${oneLine(m.failure.message)})`] : valueLines(payload)),
  ].join('\n')
}

function valueLines(payload: Buffer | null): string[] {
  if (payload === null) return ['(no value: a tombstone)']
  if (isUtf8(payload)) return [printable(payload.toString())]
  return hexDump(payload, '--json prints all', HEX)
}

const bytesOf = (value: Buffer | string): Buffer => (typeof value === 'string' ? Buffer.from(value) : value)
const textOf = (bytes: Buffer): string => (isUtf8(bytes) ? oneLine(bytes.toString()) : `0x${bytes.toString('hex')}`)

const timeOf = (m: Message): string => (Math.abs(m.time) <= MAX_TIME ? new Date(m.time).toISOString() : String(m.time))

const exact = (name: string, bytes: Buffer | null): object =>
  bytes === null || isUtf8(bytes) ? { [name]: bytes?.toString() ?? null } : { [`${name}_base64`]: bytes.toString('base64') }

function asJson(topic: string, partition: number, m: Message): object {
  return {
    topic,
    partition,
    offset: m.offset,
    time: timeOf(m),
    ...exact('key', m.keyBytes),
    headers: (m.headers ?? []).map(([name, value]: Header) => ({ name, ...exact('value', value === null ? null : bytesOf(value)) })),
    ...(m.failure ? { error: m.failure.message } : exact('value', m.payload)),
  }
}
