/**
 * Wraps the methods of a plugin instance: an error from a plugin is converted to one with the step, the location in the code and the
 * records of the call.
 */
import {
  type Batch,
  BatchError,
  jsonProblem,
  type Logger,
  Message,
  type Rejection,
  type Sink,
  type Source,
  type Transform,
} from '../contract/plugin.ts'
import type { Step } from '../config/model.ts'
import { attribute, type PluginCall, PluginError, recordsOf, toError } from '../kit/plugin-error.ts'

type Instance = Source | Sink | Transform
type Method = (...args: any[]) => unknown

// biome-ignore format: one row for each kind of plugin
const METHODS = [
  'open', 'read', 'seek', 'holds', 'commit', 'reject', 'onRejected', 'finish',
  'process', 'onGap', 'onIdle', 'onClock', 'onEnd',
  'write', 'claim', 'close',
]
/** Called by the status pages and the clock. Their errors must not end the run. */
const ASKED = ['healthy', 'caughtUp'] as const

const guarded = new WeakSet<object>()

/** @throws {PluginError} for an error from `create`, and for a return value that is not an instance. */
export function create<T extends Instance>(
  step: Pick<Step<any>, 'name' | 'at' | 'foreign'>,
  required: string,
  log: Logger,
  make: () => T,
): T {
  const call = (method: string): PluginCall => ({ step: step.name, at: step.at, method, foreign: step.foreign })
  let instance: T
  try {
    instance = make()
  } catch (error) {
    throw attribute(error, call('create'))
  }
  if (typeof (instance as unknown as Record<string, unknown> | null | undefined)?.[required] !== 'function')
    throw new PluginError(call('create'), new Error(`create returned a value without ${required}()`))
  // An instance that several lanes share is guarded once. A frozen instance is not guarded: its errors arrive unchanged.
  if (guarded.has(instance) || !Object.isExtensible(instance)) return instance
  guarded.add(instance)
  const methods = instance as unknown as Record<string, Method | undefined>
  for (const name of METHODS) {
    const method = methods[name]
    if (typeof method === 'function') methods[name] = watched(method, call(name), log)
  }
  for (const name of ASKED) {
    const method = methods[name]
    if (typeof method === 'function') methods[name] = answered(method, call(name), log)
  }
  return instance
}

function watched(method: Method, call: PluginCall, log: Logger): Method {
  const convert = (thrown: unknown, args: unknown[]): unknown => {
    if (thrown instanceof BatchError && call.method === 'write') return checkIndexes(thrown, call, args[0] as Message[])
    if (args.some(isAborted)) return thrown
    const error = attribute(thrown, call, () => (Array.isArray(args[0]) ? recordsOf(args[0]) : undefined))
    if (error instanceof PluginError && call.method === 'process') note(error)
    return error
  }
  const noted = new Set<string>()
  /** Logs each location once. With a dlq, this line and the headers of the dead letters are the only reports of the error. */
  const note = (error: PluginError): void => {
    const id = error.location ?? error.thrown.message
    if (noted.has(id) || noted.size > 100) return
    noted.add(id)
    log.warn({ step: call.step, error: error.thrown.name, at: error.location }, error.headline())
  }
  return function (this: unknown, ...args) {
    let result: unknown
    if (call.method === 'reject' || call.method === 'onRejected') args = [(args[0] as Rejection[]).map(unwrap)]
    try {
      result = method.apply(this, args)
    } catch (error) {
      throw convert(error, args)
    }
    if (typeof (result as PromiseLike<unknown> | undefined)?.then !== 'function') return result
    return (result as Promise<unknown>).then(call.method === 'read' ? batch => checkBatch(batch, call) : undefined, error => {
      throw convert(error, args)
    })
  }
}

/** The response to the sender contains the error of the plugin, without the wrapper and its stack. */
const unwrap = (r: Rejection): Rejection => (r.error instanceof PluginError ? { ...r, error: r.error.thrown } : r)

const isAborted = (arg: unknown): boolean => {
  const signal = arg instanceof AbortSignal ? arg : (arg as { signal?: unknown } | null)?.signal
  return signal instanceof AbortSignal && signal.aborted
}

function answered(method: Method, call: PluginCall, log: Logger): Method {
  let told = false
  return function (this: unknown, ...args) {
    try {
      return method.apply(this, args)
    } catch (error) {
      if (!told) log.error({ step: call.step }, new PluginError(call, error).message)
      told = true
      return false
    }
  }
}

/** An index outside of the batch would dead-letter no message, and the intended record would be lost. */
function checkIndexes(error: BatchError, call: PluginCall, messages: readonly Message[]): Error {
  for (const [index, cause] of error.failed) {
    if (!Number.isInteger(index) || messages[index] === undefined)
      return new PluginError(
        call,
        new RangeError(`the BatchError lists message ${index} of a batch of ${messages.length}`),
        recordsOf(messages),
      )
    if (!(cause instanceof Error))
      return checkIndexes(new BatchError(new Map([...error.failed].map(([i, e]) => [i, toError(e)]))), call, messages)
  }
  return error
}

/**
 * For an external source: checks what it reads, so that a mistake ends the run instead of losing records.
 * @param claimed lanes that the source has claimed so far, including lanes that it has lost since
 * @throws {PluginError} when the source is declared replayable but has no `seek`
 */
export function checkedSource(
  source: Source,
  step: Pick<Step<any>, 'name' | 'at'>,
  claimed: ReadonlySet<string>,
  replayable: boolean,
): Source {
  if (replayable && typeof source.seek !== 'function')
    throw new PluginError(
      { step: step.name, at: step.at, method: 'create' },
      new Error('create returned a value without seek(), although the plugin is replayable'),
    )
  if (!Object.isExtensible(source)) return source
  const read = source.read.bind(source)
  source.read = async signal => {
    const batch = await read(signal)
    const problem = batch && batchProblem(batch, claimed)
    if (problem) throw new PluginError({ step: step.name, at: step.at, method: 'read' }, new TypeError(problem))
    return batch
  }
  return source
}

function batchProblem({ lane, messages, position }: Batch, claimed: ReadonlySet<string>): string | undefined {
  if (!claimed.has(lane)) {
    const has = claimed.size > 0 ? `it has claimed ${[...claimed].slice(0, 5).join(', ')}` : 'it has not claimed any'
    return `the batch is of lane '${lane}', which the source has not claimed with ctx.assign: ${has}`
  }
  const problem = position === undefined ? 'it is undefined' : jsonProblem(position)
  if (problem !== undefined) return `the position of the batch cannot be saved as JSON: ${problem}`
  for (const m of messages) {
    if (!(m instanceof Message)) return 'the batch has a message that is not a Message: write Message.fromRecord(…), or new Message(value)'
    if (!Number.isFinite(m.time)) return `the batch has a message with the time ${m.time}: it must be epoch milliseconds`
    if (m.payload !== null && !Buffer.isBuffer(m.payload))
      return `the payload of a message is a ${typeof m.payload}: it must be a Buffer, or null`
    if (m.payload !== null && m.origin === undefined) return 'the batch has a message without an origin: pass one to Message.fromRecord'
  }
  return undefined
}

function checkBatch(batch: unknown, call: PluginCall): unknown {
  if (batch === null) return batch
  const { lane, messages } = (batch ?? {}) as { lane?: unknown; messages?: unknown }
  if (typeof lane === 'string' && Array.isArray(messages)) return batch
  throw new PluginError(call, new TypeError('read must resolve to a batch {lane, messages, position}, or to null at the end of the input'))
}
