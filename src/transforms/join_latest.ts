/** Joins each message with the latest table message of the same key. */
import { saidOnce } from '../kit/said-once.ts'
import type { JoinLatestConfig } from '../generated/config-types.ts'
import { compile } from '../expressions/index.ts'
import {
  type ConfigProblem,
  DataError,
  defineTransform,
  type Json,
  type Message,
  type Output,
  type State,
  type Transform,
  type TransformContext,
} from '../contract/plugin.ts'
import { failOn } from '../kit/fail.ts'
import { show } from '../kit/values/fields.ts'
import { sameKeyText } from '../kit/values/key.ts'
import { type Parked, park, unpark } from './join_latest/parked.ts'
import { isRecord } from '../kit/values/records.ts'
import schema from './join_latest.schema.json' with { type: 'json' }

export default defineTransform<JoinLatestConfig>({
  type: 'join_latest',
  varies: 'can find newer rows in its table',
  schema,
  stateful: true,
  stateShape: ({ source, table, table_key, key, value }) => ({ source, table, table_key, key, value }) as unknown as Json,
  validateConfig({ source, table }): ConfigProblem[] {
    if (source === undefined && table === undefined)
      return [{ path: [], message: 'needs the source step whose messages fill the table, or an expression (table) that selects them' }]
    return source !== undefined && table !== undefined
      ? [{ path: ['table'], message: 'source already defines what fills the table: write source or table, not both' }]
      : []
  },
  create,
})

/** [value, time] */
type Latest = [Json, number]

/** The table parts of the lanes of this process. Each part is state of its lane, so a restart or a restore recovers it. */
type Table = Map<string, State<Latest>>

interface Waiting {
  readonly id: string
  readonly message: Message
  readonly key: string
  /** Monotonic clock, ms. */
  readonly since: number
}

function create(config: JoinLatestConfig, ctx: TransformContext): Transform {
  const { as, wait, max_waiting, on_missing, max_keys, max_age } = config
  const own = ctx.state<Latest>('latest')
  const table = ctx.shared<Table>('table', () => new Map())
  table.set(ctx.lane.id, own)
  const queue = new Queue(ctx.state('waiting'), ctx)
  const missing = ctx.metrics.counter('runner_join_missing_total', 'Messages without an entry in the table', {
    pipeline: ctx.pipeline,
    step: ctx.step,
  })
  const sayFull = saidOnce(ctx, 'full')
  const keyOf = keyReader(config.key)
  const tableKeyOf = keyReader(config.table_key ?? config.key)
  const fills = tableTest(config)
  const keeps = config.value === undefined ? undefined : compile(config.value)

  const fill = (m: Message): string => {
    const key = tableKeyOf(m)
    if (own.get(key) === undefined && own.size >= max_keys)
      throw new DataError(`the table holds ${max_keys} keys of this lane already (max_keys); ${show(key)} is one more`)
    own.set(key, [(keeps ? keeps.evaluate(m) : m.value) as Json, m.time])
    return key
  }
  const find = (key: string, time: number): Latest | undefined => {
    const entry = own.get(key) ?? newest(table, key)
    return entry && max_age > 0 && time - entry[1] > max_age ? undefined : entry
  }
  const join = (m: Message, found: Json, out: Output): void => {
    const record = m.value
    if (!isRecord(record)) out.fail(m, new DataError(`the value must be an object to join to, is ${show(record)}`))
    else if (Object.hasOwn(record, as)) out.fail(m, new DataError(`the record has a field '${as}' of its own`))
    else {
      m.value = { ...record, [as]: found }
      out.emit(m)
    }
  }
  const giveUp = (m: Message, key: string, out: Output): void => {
    missing.inc()
    if (on_missing === 'pass') join(m, null, out)
    else if (on_missing === 'fail')
      out.fail(m, new DataError(`the table has no entry for ${show(key)}${max_age > 0 ? ' that is recent enough' : ''}`))
  }
  const settle = (w: Waiting, out: Output, late: boolean): void => {
    const entry = find(w.key, w.message.time)
    if (!entry && !late) return
    queue.remove(w)
    if (entry) join(w.message, entry[0], out)
    else giveUp(w.message, w.key, out)
  }
  const settleDue = (out: Output): void => {
    const now = ctx.clock.monotonic()
    for (const w of queue.all()) settle(w, out, now - w.since >= wait)
  }

  return {
    process(messages, out) {
      if (queue.size > 0) settleDue(out)
      for (const m of messages) {
        try {
          if (fills(m)) {
            const key = fill(m)
            if (queue.size > 0) for (const w of queue.all()) if (w.key === key) settle(w, out, false)
            continue
          }
          const key = keyOf(m)
          const entry = find(key, m.time)
          if (entry) join(m, entry[0], out)
          else if (wait === 0) giveUp(m, key, out)
          else if (queue.size >= max_waiting) {
            sayFull(() => ({
              details: { max_waiting },
              message: `a message did not wait for its table entry, because max_waiting (${max_waiting}) messages are waiting: on_missing (${on_missing}) applies; raise max_waiting or shorten wait`,
            }))
            giveUp(m, key, out)
          } else queue.add(m, key)
        } catch (error) {
          failOn(m, error, out)
        }
      }
    },
    ...(wait > 0 && { onIdle: (_silence: number, out: Output) => settleDue(out) }),
    onEnd(out) {
      for (const w of queue.all()) settle(w, out, true)
    },
    close() {
      if (table.get(ctx.lane.id) === own) table.delete(ctx.lane.id)
    },
  }
}

/** The newest entry for the key in all lanes; ties go to the first lane by name. */
function newest(table: Table, key: string): Latest | undefined {
  let found: Latest | undefined
  let from = ''
  for (const [lane, part] of table) {
    const entry = part.get(key)
    if (entry && (!found || entry[1] > found[1] || (entry[1] === found[1] && lane < from))) [found, from] = [entry, lane]
  }
  return found
}

/** Waiting messages in order. */
class Queue {
  private readonly state: State<[Parked, string, number]>
  private readonly ctx: TransformContext
  private readonly waiting = new Map<string, Waiting>()
  private next = 0

  constructor(state: State<[Parked, string, number]>, ctx: TransformContext) {
    this.state = state
    this.ctx = ctx
    const entries = [...state.entries()].toSorted(([a], [b]) => Number(a) - Number(b))
    const { clock } = ctx
    for (const [id, [parked, key, at]] of entries) {
      // The monotonic clock restarts with the process, so the wall clock is stored. If it was set back, the wait starts again.
      const since = clock.monotonic() - Math.max(0, clock.now() - at)
      this.waiting.set(id, { id, message: unpark(parked, ctx.lane, ctx.depth), key, since })
    }
    this.next = Number(entries.at(-1)?.[0] ?? -1) + 1
  }

  get size(): number {
    return this.waiting.size
  }

  all(): Waiting[] {
    return [...this.waiting.values()]
  }

  add(message: Message, key: string): void {
    if (this.waiting.size === 0) this.next = 0
    const id = String(this.next++)
    const { clock } = this.ctx
    this.state.set(id, [park(message), key, clock.now()])
    this.waiting.set(id, { id, message, key, since: clock.monotonic() })
  }

  remove({ id }: Waiting): void {
    this.waiting.delete(id)
    this.state.delete(id)
  }
}

function tableTest({ source, table }: JoinLatestConfig): (m: Message) => boolean {
  if (table === undefined) return m => m.origin?.source === source
  const expression = compile(table)
  return m => {
    const result = expression.evaluate(m)
    if (typeof result === 'boolean') return result
    throw new DataError(`table: '${table}' gave ${show(result)}, not true or false`)
  }
}

function keyReader(text: string): (m: Message) => string {
  const expression = compile(text)
  return m => {
    const key = expression.evaluate(m)
    const found = sameKeyText(key)
    if (found !== undefined) return found
    throw new DataError(`'${text}' gave ${show(key)}, which is not a key`)
  }
}
