/**
 * Runs one transform without the runtime: batches, checkpoints between `process` calls, and crashes that restore the JSON of the last
 * checkpoint. A crash loses everything that a plugin keeps outside its state.
 */
import {
  DEFAULT_DEPTH,
  encodeJson,
  Message,
  parseJson,
  type Gap,
  type Header,
  type Json,
  type LaneInfo,
  type Output,
  type State,
  type TransformPlugin,
} from '../../contract/plugin.ts'
import { VirtualClock } from '../../kit/clock.ts'
import { type Durable, FakeStore } from './state.ts'

export type { Durable }

/** Input of a test instead of a `Message`: JSON `value`, or raw `payload` bytes. */
export interface Input {
  value?: unknown
  payload?: Buffer | string | null
  key?: string | null
  time?: number
  headers?: readonly Header[]
}

/** One step: a batch, `idle` ms of silence on a caught-up lane, a gap, or a crash with a restart from the last checkpoint. */
export type Step = readonly Message[] | readonly Input[] | { readonly idle: number } | { readonly gap: Gap } | 'crash'

export interface RunOptions {
  /** After the last batch, call `onIdle` with this many ms of silence. */
  idle?: number
  /** At the end, call `onEnd`; `true`: without a time limit. */
  end?: boolean | number
  /** Crash and restore before the steps with these indexes (the number of steps: before `idle` and `end`). */
  restartAt?: readonly number[]
  clock?: VirtualClock
  /** Durable state to start from: store -> key -> JSON text. */
  state?: Durable
}

export type Event =
  | { readonly kind: 'out'; readonly message: Message }
  | { readonly kind: 'port'; readonly port: string; readonly message: Message }
  /** `undecodable`: failed before the transform. */
  | { readonly kind: 'fail' | 'undecodable'; readonly message: Message; readonly error: Error }

export interface Run {
  /** All outputs in order. */
  readonly events: Event[]
  readonly out: Message[]
  readonly ports: Record<string, Message[]>
  readonly failures: { message: Message; error: Error }[]
  /** `ctx.watermark` calls. */
  readonly watermarks: number[]
  /** Counter name (with labels as `name{a="b"}`) -> sum. Counts before a crash are included, as in scraped metrics. */
  readonly counters: Record<string, number>
  readonly gauges: Record<string, number>
  /** State at the last checkpoint. */
  readonly state: Durable
}

const LANE: LaneInfo = { id: 'in/0', source: 'in', topic: 'in', partition: 0 }
const ORIGIN = { lane: LANE.id, source: 'in', topic: 'in', partition: 0, format: 'json' } as const

/** Creates messages with offsets from `firstOffset`. Runs must not share messages, because transforms may change them. */
export function messagesOf(inputs: readonly Input[], firstOffset = 0): Message[] {
  return inputs.map((input, i) => {
    const payload = input.payload === undefined ? Buffer.from(encodeJson(input.value)) : toBuffer(input.payload)
    const key = input.key == null ? null : Buffer.from(input.key)
    return Message.fromRecord(payload, key, input.time ?? 0, input.headers, firstOffset + i, ORIGIN)
  })
}

const toBuffer = (bytes: Buffer | string | null) => (typeof bytes === 'string' ? Buffer.from(bytes) : bytes)

/**
 * Runs one transform as the runtime does, with a checkpoint after each batch. @returns its outputs
 *
 * @example
 * const { out, failures } = await runTransform(plugin, { percent: 10 }, [[{ value: { price: 100 } }, { value: 'bad' }]])
 * // out[0].value: { price: 90 }; failures[0].error.message: 'price is missing'
 */
export async function runTransform<C>(
  plugin: TransformPlugin<C>,
  config: C,
  steps: readonly Step[],
  options: RunOptions = {},
): Promise<Run> {
  const durable: Durable = options.state ?? new Map()
  const clock = options.clock ?? new VirtualClock(0)
  const run: Run = { events: [], out: [], ports: {}, failures: [], watermarks: [], counters: {}, gauges: {}, state: durable }
  const output: Output = {
    emit(message) {
      run.out.push(message)
      run.events.push({ kind: 'out', message })
    },
    emitTo(port, message) {
      if (!(plugin.ports?.(config) ?? []).includes(port))
        throw new Error(`${plugin.type} emits to port "${port}", which it does not declare`)
      ;(run.ports[port] ??= []).push(message)
      run.events.push({ kind: 'port', port, message })
    },
    fail(message, error) {
      run.failures.push({ message, error })
      run.events.push({ kind: 'fail', message, error })
    },
  }

  let stores: FakeStore[] = []
  let opening = false
  const shared = new Map<string, unknown>()
  const context = {
    step: plugin.type,
    pipeline: 'test',
    version: 1,
    lane: LANE,
    clock,
    report: silent,
    log: { debug: silent, info: silent, warn: silent, error: silent },
    metrics: {
      counter: (name: string, _help: string, labels?: Record<string, string>) => {
        const id = metricId(name, labels)
        run.counters[id] ??= 0
        return { inc: (n = 1) => void (run.counters[id]! += n) }
      },
      gauge: (name: string, _help: string, labels?: Record<string, string>) => ({
        set: (n: number) => void (run.gauges[metricId(name, labels)] = n),
      }),
    },
    depth: DEFAULT_DEPTH,
    shared: <T>(name: string, make: () => T): T => {
      if (!shared.has(name)) shared.set(name, make())
      return shared.get(name) as T
    },
    watermark: (time: number) => void run.watermarks.push(time),
    state<V extends Json>(name: string): State<V> {
      if (!opening) throw new Error('ctx.state must be called in create')
      if (stores.some(s => s.name === name)) throw new Error(`store "${name}" opened twice`)
      const store = new FakeStore(name, durable)
      stores.push(store)
      return store as unknown as State<V>
    },
  }
  const start = () => {
    stores = []
    shared.clear()
    opening = true
    try {
      return plugin.create(config, context)
    } finally {
      opening = false
    }
  }
  const cut = () => {
    for (const store of stores) store.save()
  }

  let offset = 0
  const fresh = (batch: readonly Message[] | readonly Input[]): readonly Message[] => {
    const messages = batch.every(m => m instanceof Message) ? (batch as readonly Message[]) : messagesOf(batch as readonly Input[], offset)
    offset += batch.length
    return messages
  }

  let transform = start()
  await transform.open?.()
  const restart = async () => {
    transform = start()
    await transform.open?.()
  }
  for (let i = 0; i < steps.length; i++) {
    if (options.restartAt?.includes(i)) await restart()
    const step = steps[i]!
    if (step === 'crash') await restart()
    else if ('idle' in step) transform.onIdle?.(step.idle, output)
    else if ('gap' in step) transform.onGap?.(step.gap)
    else await transform.process(decodable(plugin, fresh(step), run), output)
    cut()
  }
  if (options.restartAt?.includes(steps.length)) await restart()
  if (options.idle !== undefined) {
    transform.onIdle?.(options.idle, output)
    cut()
  }
  if (options.end !== undefined && options.end !== false) {
    transform.onEnd?.(output, options.end === true ? Number.POSITIVE_INFINITY : options.end)
    cut()
  }
  await transform.close?.()
  return run
}

/** Decodes as the runtime does: undecodable messages fail before they reach the transform. */
function decodable(plugin: TransformPlugin, messages: readonly Message[], run: Run): Message[] {
  if (plugin.readsValue === false) return [...messages]
  return messages.filter(message => {
    try {
      if (message.failure) throw message.failure
      void message.value
      return true
    } catch (error) {
      run.failures.push({ message, error: error as Error })
      run.events.push({ kind: 'undecodable', message, error: error as Error })
      return false
    }
  })
}

const silent = () => {}

const metricId = (name: string, labels?: Record<string, string>) =>
  labels && Object.keys(labels).length > 0
    ? `${name}{${Object.entries(labels)
        .map(([k, v]) => `${k}="${v}"`)
        .join(',')}}`
    : name

/** The outputs and failures of a run as text, for `toEqual` with a readable diff. */
export function seen(run: Run): string[] {
  return run.events.map(e => {
    const m = e.message
    if ('error' in e) return `${e.kind} #${m.offset} ${e.error.name}: ${e.error.message}`
    const headers = (m.headers ?? []).map(([n, v]) => ` ${n}=${v}`).join('')
    return `${e.kind === 'port' ? `${e.port} <- ` : ''}${m.encodeKey()} @${m.time}${headers} ${m.encode()}`
  })
}

/** As `seen`, with one list per destination: the interleaving of outputs, ports and dead letters is not compared. */
export function seenByPlace(run: Run): Record<string, string[]> {
  const places: Record<string, string[]> = {}
  seen(run).forEach((line, i) => {
    const e = run.events[i]
    ;(places[e.kind === 'port' ? `port ${e.port}` : e.kind] ??= []).push(line)
  })
  return places
}

/** State with sorted entries, to compare two runs. */
export const stateOf = (run: Run): Record<string, Record<string, Json>> =>
  Object.fromEntries(
    [...run.state].map(([name, entries]) => [
      name,
      Object.fromEntries([...entries].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => [k, parseJson(v) as Json])),
    ]),
  )
