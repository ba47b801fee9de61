/** The sequence numbers of a message. */
import type { Message } from '../../contract/plugin.ts'
import { getter, show } from '../../kit/values/fields.ts'
import type { SequenceOptions } from './sequence.ts'

export interface SequencedMessage {
  readonly message: Message
  readonly first: number | undefined
  readonly last: number
  readonly previous: number | undefined
}

export class NumbersReader {
  private readonly options: SequenceOptions
  private readonly first
  private readonly last
  private readonly previous

  constructor(options: SequenceOptions) {
    this.options = options
    this.last = getter(options.last)
    this.first = options.first === undefined ? undefined : getter(options.first)
    this.previous = options.previous === undefined ? undefined : getter(options.previous)
  }

  /** @returns the numbers, or the problem with them. */
  read(message: Message): SequencedMessage | string {
    const { value } = message
    const { options } = this
    const last = wholeNumber(this.last(value))
    if (last === undefined) return wrongNumber(options.last, this.last(value))
    const first = this.first ? wholeNumber(this.first(value)) : undefined
    if (this.first && first === undefined) return wrongNumber(options.first!, this.first(value))
    const previous = this.previous ? wholeNumber(this.previous(value)) : undefined
    if (this.previous && previous === undefined) return wrongNumber(options.previous!, this.previous(value))
    return { message, first, last, previous }
  }
}

/** @returns whether the message starts at or before the next expected number. A message without a first number is a single step. */
export const bridges = (entry: SequencedMessage, last: number): boolean =>
  entry.first === undefined && entry.previous !== undefined ? entry.previous <= last : (entry.first ?? entry.last) <= last + 1

export function wholeNumber(raw: unknown): number | undefined {
  const n = typeof raw === 'string' && /^-?\d{1,16}$/.test(raw) ? Number(raw) : raw
  return typeof n === 'number' && Number.isSafeInteger(n) ? n : undefined
}

const wrongNumber = (path: string, raw: unknown): string => `${path} must be a whole number below 2^53, not ${show(raw)}`
