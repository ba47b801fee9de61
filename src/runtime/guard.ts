/** Between the runtime and a plugin's instance: whatever its methods throw arrives as an error that says which step, where, and with which records in hand. */
import { BatchError, type Logger, type Message, type Rejection, type Sink, type Source, type Transform } from '../contract/plugin.ts'
import type { Step } from '../config/model.ts'
import { attribute, type PluginCall, PluginError, recordsOf, toError } from '../kit/plugin-error.ts'

type Instance = Source | Sink | Transform
type Method = (...args: any[]) => unknown

const METHODS = ['open', 'read', 'seek', 'commit', 'reject', 'onRejected', 'process', 'onIdle', 'onEnd', 'write', 'close'] as const
/** Asked by the status pages and the clock: what they throw must not end anything. */
const ASKED = ['healthy', 'caughtUp'] as const

const guarded = new WeakSet<object>()

/** @throws {PluginError} what `create` throws, or for what it returns when that is no instance. */
export function create<T extends Instance>(step: Pick<Step<any>, 'name' | 'at'>, required: string, log: Logger, make: () => T): T {
  const call = (method: string): PluginCall => ({ step: step.name, at: step.at, method })
  let instance: T
  try {
    instance = make()
  } catch (error) {
    throw attribute(error, call('create'))
  }
  if (typeof (instance as unknown as Record<string, unknown> | null | undefined)?.[required] !== 'function')
    throw new PluginError(call('create'), new Error(`create returned nothing that has ${required}()`))
  // One instance for several lanes is guarded once. A frozen one is left alone: its errors arrive as they are.
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
  /** Each place once: with a dlq the records are put aside, and only this line and their letters say why. */
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

/** A sender is told the error, not where our code threw it. */
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

/** A position in the batch that does not exist would dead-letter nothing, and lose the record that was meant. */
function checkIndexes(error: BatchError, call: PluginCall, messages: readonly Message[]): Error {
  for (const [index, cause] of error.failed) {
    if (!Number.isInteger(index) || messages[index] === undefined)
      return new PluginError(
        call,
        new RangeError(`the BatchError names message ${index} of a batch of ${messages.length}`),
        recordsOf(messages),
      )
    if (!(cause instanceof Error))
      return checkIndexes(new BatchError(new Map([...error.failed].map(([i, e]) => [i, toError(e)]))), call, messages)
  }
  return error
}

function checkBatch(batch: unknown, call: PluginCall): unknown {
  if (batch === null) return batch
  const { lane, messages } = (batch ?? {}) as { lane?: unknown; messages?: unknown }
  if (typeof lane === 'string' && Array.isArray(messages)) return batch
  throw new PluginError(call, new TypeError('read must resolve to a batch {lane, messages, position}, or to null at the end of the input'))
}
