/**
 * The record timestamps that a topic accepts and keeps. Kafka 4 rejects records more than an hour ahead, and its next cleanup deletes
 * records older than `retention.ms`. Both are detected here, before the record is written.
 */
import { DataError, type Logger } from '../../contract/plugin.ts'
import { formatDuration, MAX_TIME } from '../../kit/values/time.ts'
import type { TopicSetting } from './log-admin.ts'
import type { Driver, OutRecord } from './driver.ts'
import type { Meter } from './metrics.ts'

/** Settings are read again after this time, ms: an operator may change them. */
const REFRESH = 60_000

interface Limits {
  readonly askedAt: number
  /** Maximum time of a timestamp after and before now, ms; Infinity: any. */
  readonly after: number
  readonly before: number
  /** Retention time, ms; Infinity: none, or by size only. */
  readonly keeps: number
}

const ANY = { after: Number.POSITIVE_INFINITY, before: Number.POSITIVE_INFINITY, keeps: Number.POSITIVE_INFINITY }

export class DateLimits {
  private readonly limits = new Map<string, Limits>()
  private readonly warned = new Set<string>()
  private readonly driver: Driver
  private readonly now: () => number
  private readonly log: Logger
  private readonly meter: Meter

  constructor(driver: Driver, now: () => number, log: Logger, meter: Meter) {
    this.driver = driver
    this.now = now
    this.log = log
    this.meter = meter
  }

  /** Reads the settings of new topics; known settings are refreshed in the background. Never throws. */
  know(topics: ReadonlySet<string>): Promise<void> | undefined {
    let missing: string[] | undefined
    let old: string[] | undefined
    const now = this.now()
    for (const topic of topics) {
      const known = this.limits.get(topic)
      if (known === undefined) (missing ??= []).push(topic)
      else if (Math.abs(now - known.askedAt) > REFRESH) (old ??= []).push(topic)
    }
    if (old) void this.ask(old)
    return missing && this.ask(missing)
  }

  /**
   * Checks one batch. Records that their topic would delete immediately are counted.
   * @returns the errors of rejected records by index; undefined: all are accepted
   */
  problems(records: readonly OutRecord[]): Map<number, DataError> | undefined {
    const now = this.now()
    let found: Map<number, DataError> | undefined
    let topic: string | undefined
    let limits: Limits | undefined
    for (let i = 0; i < records.length; i++) {
      const record = records[i]
      if (record.topic !== topic) limits = this.limits.get((topic = record.topic))
      const problem = limits && this.problem(record, limits, now)
      if (problem) (found ??= new Map()).set(i, problem)
    }
    return found
  }

  private problem(record: OutRecord, limits: Limits, now: number): DataError | undefined {
    const age = now - record.time
    if (-age > limits.after)
      return this.reject(record, `more than ${formatDuration(limits.after)} in the future`, 'message.timestamp.after.max.ms')
    if (age > limits.before) return this.reject(record, `more than ${formatDuration(limits.before)} old`, 'message.timestamp.before.max.ms')
    if (age > limits.keeps) this.noteExpired(record, limits.keeps)
    return undefined
  }

  private reject(record: OutRecord, what: string, setting: string): DataError {
    this.meter.rejectedDates(record.topic).inc()
    const text = `topic ${record.topic} rejects records dated ${what} (${setting}); this one is dated ${iso(record.time)}`
    const fix = `set \`timestamp: record\` or \`timestamp: now\` on the sink, or raise ${setting} of the topic`
    this.warnOnce(`${record.topic} ${setting}`, record, `${text}: ${fix}`)
    return new DataError(`${text}; ${fix}`)
  }

  private noteExpired(record: OutRecord, keeps: number): void {
    this.meter.expiredDates(record.topic).inc()
    this.warnOnce(
      `${record.topic} retention`,
      record,
      `records dated ${iso(record.time)} are older than retention.ms of topic ${record.topic} (${formatDuration(keeps)}), so Kafka deletes them at its next check: raise retention.ms, or set \`timestamp: now\` on the sink`,
    )
  }

  private warnOnce(id: string, { topic }: OutRecord, text: string): void {
    if (this.warned.has(id)) return
    this.warned.add(id)
    this.log.warn({ topic }, text)
  }

  private async ask(topics: readonly string[]): Promise<void> {
    const askedAt = this.now()
    // Without limits until the settings arrive; if they cannot be read (permissions, missing topic), they are read again later.
    for (const topic of topics) if (!this.limits.has(topic)) this.limits.set(topic, { ...ANY, askedAt })
    try {
      for (const [topic, settings] of await this.driver.admin.configs(topics)) this.limits.set(topic, { ...limitsOf(settings), askedAt })
    } catch (error) {
      this.log.debug({ topics, error: (error as Error).message }, 'the date limits of the topics are unknown')
    }
  }
}

/** The limits in the settings of a topic. */
export function limitsOf(settings: ReadonlyMap<string, TopicSetting>): Omit<Limits, 'askedAt'> {
  // With LogAppendTime the broker sets the timestamp.
  if (settings.get('message.timestamp.type')?.value === 'LogAppendTime') return ANY
  const ms = (name: string): number => {
    const value = Number(settings.get(name)?.value || Number.POSITIVE_INFINITY)
    return value < 0 || value >= Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : value
  }
  const deletes = settings.get('cleanup.policy')?.value.includes('delete') ?? true
  return {
    after: ms('message.timestamp.after.max.ms'),
    before: ms('message.timestamp.before.max.ms'),
    keeps: deletes ? ms('retention.ms') : Number.POSITIVE_INFINITY,
  }
}

/** The timestamps that a topic may contain: maximum age and maximum time ahead, ms. */
export interface HeldDates {
  readonly topic: string
  readonly old: number
  readonly ahead: number
}

export function heldDates(topic: string, settings: ReadonlyMap<string, TopicSetting>): HeldDates {
  const ownDates = settings.get('message.timestamp.type')?.value !== 'LogAppendTime'
  const { after, keeps } = limitsOf(new Map([...settings].filter(([name]) => name !== 'message.timestamp.type')))
  return { topic, old: keeps, ahead: ownDates ? after : 0 }
}

/** Settings of the output that would reject or delete records of the input because of their timestamps. */
export function dateConflicts(input: HeldDates, output: Omit<Limits, 'askedAt'>): { problem: string; setting: string; value: string }[] {
  const { topic, old, ahead } = input
  const held = old === Number.POSITIVE_INFINITY ? 'forever' : `for ${formatDuration(old)}`
  const setting = (ms: number): string => (ms === Number.POSITIVE_INFINITY ? '-1' : String(ms))
  const any = (ms: number): string => (ms === Number.POSITIVE_INFINITY ? '9223372036854775807' : String(ms))
  const found: { problem: string; setting: string; value: string }[] = []
  if (old > output.before)
    found.push({
      problem: `topic ${topic} keeps records ${held}; those older than ${formatDuration(output.before)} go to the dead-letter queue when they are read from the earliest offset`,
      setting: 'message.timestamp.before.max.ms',
      value: any(old),
    })
  if (old > output.keeps)
    found.push({
      problem: `topic ${topic} keeps records ${held}, this one for ${formatDuration(output.keeps)}: when older records are read from the earliest offset, Kafka deletes their results at its next check`,
      setting: 'retention.ms',
      value: setting(old),
    })
  if (ahead > output.after)
    found.push({
      problem: `topic ${topic} accepts records dated ${ahead === Number.POSITIVE_INFINITY ? 'any time' : formatDuration(ahead)} in the future; those more than ${formatDuration(output.after)} in the future go to the dead-letter queue`,
      setting: 'message.timestamp.after.max.ms',
      value: any(ahead),
    })
  return found
}

/** A time in ISO 8601; beyond the range of a Date, in ms. */
const iso = (time: number): string => (Math.abs(time) <= MAX_TIME ? new Date(time).toISOString() : `${time} ms`)
