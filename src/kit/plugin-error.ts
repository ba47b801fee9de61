/**
 * Errors of plugins that the contract does not cover: reported with the step, the call, the location in the plugin's own code, and a fix.
 */
import { inspect, types } from 'node:util'
import { DataError, DecodeError, PipelineError } from '../contract/errors.ts'
import type { Message } from '../contract/message.ts'
import { locate } from './throw-site.ts'

export interface PluginCall {
  readonly step: string
  readonly at: { readonly file: string; readonly line: number }
  /** `process`, `write`, `read`… */
  readonly method: string
  /** The plugin is not built in. */
  readonly foreign?: boolean
}

const LATE = 'Correct the plugin: return a promise that resolves when everything is emitted; a message emitted later is lost.'
const ADVICE: Readonly<Record<string, string>> = {
  create: 'Correct the plugin: `create` only builds the instance. Report problems of the config in `validateConfig`.',
  process: "Correct the plugin. To reject a record on purpose, call out.fail(message, new DataError('…')).",
  write:
    'Correct the plugin. Throw a BatchError to reject records of the batch, a ConnectionError to let the runner retry the call, an EnvironmentError when a retry cannot help.',
  emit: LATE,
  emitTo: LATE,
  fail: LATE,
  close: 'Correct the plugin. Data that was written and committed is not affected.',
  check: 'Correct the plugin: `check` must return its findings instead of throwing them.',
  positions: 'Correct the plugin.',
  preview: "Correct the plugin. For a message that `write` would reject, throw new DataError('…').",
}
const OTHER = 'Correct the plugin. Throw a ConnectionError to let the runner retry the call, an EnvironmentError when a retry cannot help.'

export class PluginError extends Error {
  readonly call: PluginCall
  /** The error itself; any other thrown value is converted to an error. */
  readonly thrown: Error
  /** `plugin.ts:14:22`; undefined when the stack does not show it. */
  readonly location: string | undefined
  /** It was logged, or has ended the run: the next handler does not report it again. */
  reported = false

  constructor(call: PluginCall, thrown: unknown, records?: string) {
    const error = toError(thrown)
    const location = locate(error)
    super(
      `${headline(call, error, location)}${records === undefined ? '' : `\n  Records in the call: ${records}.`}\n  ${ADVICE[call.method] ?? OTHER}`,
      { cause: error },
    )
    this.name = 'PluginError'
    this.call = call
    this.thrown = error
    this.location = location
  }

  /** One line, without advice. @param where the record or records of the call */
  headline(where?: string): string {
    return headline(this.call, this.thrown, this.location, where)
  }
}

/** A bug in a plugin that is not built in: it always ends the run, because the effect of the failed call is unknown. */
export const isMistake = (error: unknown): error is PluginError => error instanceof PluginError && error.call.foreign === true

/** `ports threw TypeError at plugin.ts:14:22: …`, for a call without a step. */
export function thrownText(method: string, thrown: unknown): string {
  const error = toError(thrown)
  const location = locate(error)
  return `${method} threw ${error.name}${location === undefined ? '' : ` at ${location}`}: ${error.message}`
}

function headline({ step, at, method }: PluginCall, error: Error, location: string | undefined, where?: string): string {
  const place = location === undefined ? '' : ` at ${location}`
  return `step '${step}' (${at.file}:${at.line}): ${method} threw ${error.name}${place}${where === undefined ? '' : ` on ${where}`}: ${error.message}`
}

/** JavaScript code may throw any value. */
export function toError(thrown: unknown): Error {
  if (thrown instanceof Error || types.isNativeError(thrown)) return thrown as Error
  const error = new Error(
    `${inspect(thrown, { depth: 1, breakLength: Infinity }).slice(0, 200)}, which is not an Error: throw new Error('…'), so that its location is known`,
  )
  error.stack = undefined
  return error
}

/**
 * @returns the error for the runtime: errors that the contract covers are unchanged.
 * @param records the records of the call
 */
export function attribute(thrown: unknown, call: PluginCall, records?: () => string | undefined): Error {
  if (thrown instanceof PluginError || (thrown instanceof Error && thrown.name === 'UnhandledRecord')) return thrown
  const data = thrown instanceof DataError || thrown instanceof DecodeError
  if (thrown instanceof PipelineError && !(data && call.method !== 'process')) return thrown
  return new PluginError(call, thrown, records?.())
}

/** `orders/0 offsets 17 to 42`, for messages of one lane. */
export function recordsOf(messages: readonly Message[]): string | undefined {
  const placed = messages.filter(m => m?.origin && m.offset >= 0)
  if (placed.length === 0) return undefined
  const [first, last] = [placed[0], placed.at(-1)!]
  return `${first.origin!.lane} ${first.offset === last.offset ? `offset ${first.offset}` : `offsets ${first.offset} to ${last.offset}`}`
}
