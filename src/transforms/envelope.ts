/** Wraps the value in an envelope `{timestamp, producer_service, data}`, or unwraps it. */
import type { EnvelopeConfig } from '../generated/config-types.ts'
import { type ConfigProblem, DataError, defineTransform, type Message } from '../contract/plugin.ts'
import { otherUnit, parseTime, wrong } from '../kit/values/event-time.ts'
import { failOn } from '../kit/fail.ts'
import { show } from '../kit/values/fields.ts'
import { isRecord } from '../kit/values/records.ts'
import schema from './envelope.schema.json' with { type: 'json' }

export default defineTransform<EnvelopeConfig>({
  type: 'envelope',
  varies: ({ wrap }, { datedByRead }) => (datedByRead && wrap !== undefined ? 'writes the time of reading' : undefined),
  schema,
  validateConfig,
  create(config) {
    const change = config.unwrap ? unwrapper(config) : wrapper(config)
    return {
      process(messages, out) {
        for (const m of messages) {
          try {
            change(m)
          } catch (error) {
            failOn(m, error, out)
            continue
          }
          out.emit(m)
        }
      },
    }
  },
})

function validateConfig({ wrap, unwrap, producers, names }: EnvelopeConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (wrap === undefined && !unwrap)
    problems.push({ path: [], message: 'needs wrap, with the name of the producing service, or unwrap: true' })
  if (wrap !== undefined && unwrap) problems.push({ path: ['unwrap'], message: 'write wrap or unwrap, not both' })
  if (producers && !unwrap)
    problems.push({ path: ['producers'], message: 'producers needs unwrap: it lists the services whose envelopes are accepted' })
  const { timestamp, producer_service, data } = names
  if (new Set([timestamp, producer_service, data]).size < 3)
    problems.push({ path: ['names'], message: 'the three fields need different names' })
  if ([timestamp, producer_service, data].includes('__proto__'))
    problems.push({ path: ['names'], message: 'a field cannot be named __proto__' })
  return problems
}

function wrapper({ wrap, names, time_format }: EnvelopeConfig): (m: Message) => void {
  const { timestamp, producer_service, data } = names
  const timeOf = time_format === 'iso' ? (ms: number) => new Date(ms).toISOString() : (ms: number) => ms
  return m => {
    m.value = { [timestamp]: timeOf(m.time), [producer_service]: wrap, [data]: m.value }
  }
}

function unwrapper({ names, producers, set_time }: EnvelopeConfig): (m: Message) => void {
  const { timestamp, producer_service, data } = names
  const allowed = producers && new Set(producers)
  return m => {
    const envelope = m.value
    if (!isRecord(envelope)) throw new DataError(`the value is not an envelope: it must be an object, not ${show(envelope)}`)
    const own = (name: string): unknown => (Object.hasOwn(envelope, name) ? envelope[name] : undefined)
    const time = readTime(own(timestamp))
    if (Number.isNaN(time) || otherUnit(own(timestamp)) !== undefined)
      throw wrong(timestamp, own(timestamp), 'an ISO 8601 time with its zone, or epoch milliseconds')
    const producer = own(producer_service)
    if (typeof producer !== 'string' || producer === '') throw wrong(producer_service, producer, 'the name of a service')
    if (allowed && !allowed.has(producer)) throw wrong(producer_service, producer, producers!.join(', '))
    if (!Object.hasOwn(envelope, data)) throw new DataError(`the value is not an envelope: ${data} is missing`)
    m.value = envelope[data]
    if (set_time) m.time = time
  }
}

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)$/

/** Epoch ms; NaN: not a time. */
function readTime(raw: unknown): number {
  if (typeof raw === 'string' && ISO.test(raw)) return Date.parse(raw)
  return parseTime(raw)
}
