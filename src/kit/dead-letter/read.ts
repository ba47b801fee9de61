/** Reads a dead letter: the source record, and the headers about its failure. */
import { ATTEMPTS, DLQ_HEADERS } from './headers.ts'
import { MAX_TIME } from '../values/time.ts'
import { type Header, type Message, parseJson } from '../../contract/plugin.ts'

/** A record of a dlq: the source record, and the information in its headers about the failure. */
export interface DeadLetter {
  /** `<partition>/<offset>` in the dlq. */
  readonly id: string
  readonly partition: number
  readonly offset: number
  /** Bytes, key and headers of the source record; for a record without any, the bytes that were written. */
  readonly payload: Buffer | null
  readonly key: Buffer | null
  readonly headers: readonly Header[]
  /** Epoch ms: the record's own time at the step that rejected it. */
  readonly time: number
  /** Undefined: this is not a dead letter of the runner. */
  readonly failure: FailureInfo | undefined
}

/** The headers that a dead letter adds, as values: `step`, `error_type`, `error_message`, `attempts`… */
export interface FailureInfo {
  readonly topic: string
  readonly partition: number
  /** -1: created by a step, not read from a source. */
  readonly offset: number
  readonly pipeline: string
  readonly step: string
  /** Name of the source step; dead letters of earlier versions do not have it. */
  readonly sourceStep: string | undefined
  /** Plugin type of the source: `kafka`, `redis`…; dead letters of 0.1.0 do not have it. */
  readonly sourceType: string | undefined
  readonly location: string
  readonly errorType: string
  readonly message: string
  readonly attempts: number
  /** ISO 8601. */
  readonly failedAt: string | undefined
  readonly firstFailedAt: string | undefined
  /** JSON text of the value at the step, if it differed from the bytes of the source. */
  readonly stepInput: string | undefined
  /** Why it is missing although it would be needed. */
  readonly stepInputMissing: string | undefined
  /** The key that a step set (null: removed); undefined: the key of the source. */
  readonly stepKey: string | null | undefined
  /** Original size in bytes, if `payload` was truncated by the dlq. */
  readonly cutFrom: number | undefined
  /** Names of headers whose value cannot be read; their information is unknown, and the record is not replayed. */
  readonly unreadable: readonly string[]
}

/** The dead letter that `record`, read from a dlq in format `bytes`, holds. */
export function readDeadLetter(record: Message, partition: number): DeadLetter {
  const all = record.headers ?? []
  const from = all.findLastIndex(([name]) => name === DLQ_HEADERS.topic)
  const own = new Map(from < 0 ? [] : all.slice(from))
  const headers = new OwnHeaders(own)
  return {
    id: `${partition}/${record.offset}`,
    partition,
    offset: record.offset,
    payload: record.payload,
    key: record.keyBytes,
    headers: from < 0 ? all : all.slice(0, from),
    time: headers.time(DLQ_HEADERS.time) ?? record.time,
    failure: own.has(DLQ_HEADERS.step) && own.has(DLQ_HEADERS.errorType) ? failure(headers) : undefined,
  }
}

/** Any program may write to a topic: an unreadable header is recorded and does not affect the others. */
class OwnHeaders {
  readonly unreadable = new Set<string>()
  private readonly own: ReadonlyMap<string, Buffer | string | null>

  constructor(own: ReadonlyMap<string, Buffer | string | null>) {
    this.own = own
  }

  has(name: string): boolean {
    return this.own.has(name)
  }

  text(name: string): string | undefined {
    return this.own.get(name)?.toString()
  }

  /** A whole number. */
  number(name: string): number | undefined {
    return this.readable(name, text => (/^-?\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined))
  }

  /** Epoch ms. */
  time(name: string): number | undefined {
    return this.readable(name, text => (/^-?\d+(\.\d+)?$/.test(text) && Math.abs(Number(text)) <= MAX_TIME ? Number(text) : undefined))
  }

  /** ISO 8601. */
  date(name: string): string | undefined {
    return this.readable(name, text => (Number.isNaN(Date.parse(text)) ? undefined : text))
  }

  json(name: string): string | undefined {
    return this.readable(name, text => {
      try {
        parseJson(text)
        return text
      } catch {
        return undefined
      }
    })
  }

  private readable<T>(name: string, read: (text: string) => T | undefined): T | undefined {
    const text = this.text(name)
    const value = text === undefined ? undefined : read(text)
    if (text !== undefined && value === undefined) this.unreadable.add(name)
    return value
  }
}

function failure(own: OwnHeaders): FailureInfo {
  const read = {
    topic: own.text(DLQ_HEADERS.topic) ?? '',
    partition: own.number(DLQ_HEADERS.partition) ?? 0,
    offset: own.number(DLQ_HEADERS.offset) ?? -1,
    pipeline: own.text(DLQ_HEADERS.pipeline) ?? '',
    step: own.text(DLQ_HEADERS.step) ?? '',
    sourceStep: own.text(DLQ_HEADERS.sourceStep),
    sourceType: own.text(DLQ_HEADERS.sourceType),
    location: own.text(DLQ_HEADERS.location) ?? '',
    errorType: own.text(DLQ_HEADERS.errorType) ?? '',
    message: own.text(DLQ_HEADERS.message) ?? '',
    attempts: own.number(DLQ_HEADERS.attempts) ?? 1,
    failedAt: own.date(DLQ_HEADERS.failedAt),
    firstFailedAt: own.date(DLQ_HEADERS.firstFailedAt),
    stepInput: own.json(DLQ_HEADERS.stepInput),
    stepInputMissing: own.text(DLQ_HEADERS.stepInputMissing),
    stepKey: own.has(DLQ_HEADERS.stepKey) ? (own.text(DLQ_HEADERS.stepKey) ?? null) : undefined,
    cutFrom: own.text(DLQ_HEADERS.truncated) === 'true' ? (own.number(DLQ_HEADERS.originalSize) ?? 0) : undefined,
  }
  return { ...read, unreadable: [...own.unreadable] }
}

/** Epoch ms of its failure; dead letters of earlier versions have only the time of the record. */
export const failureTime = ({ failure: d, time }: DeadLetter): number => (d?.failedAt === undefined ? time : Date.parse(d.failedAt))

/**
 * Headers of a record that returns to its topic: its own, and a counter. Those added by an earlier return are removed.
 */
export function revivedHeaders({ headers, failure: d }: DeadLetter): Header[] {
  return [...originalHeaders(headers), [ATTEMPTS, String(d?.attempts ?? 1)]]
}

/** Without the headers of an earlier return. */
export function originalHeaders(headers: readonly Header[]): readonly Header[] {
  const at = headers.findLastIndex(([name]) => name === ATTEMPTS)
  if (at < 0) return headers
  const traces = headers[at + 1]?.[0] === DLQ_HEADERS.topic ? 2 : 1
  return headers.toSpliced(at, traces)
}
