import {
  BatchError,
  type ConfigProblem,
  ConnectionError,
  type Context,
  DataError,
  defineSink,
  EnvironmentError,
  type LaneInfo,
  type Message,
  type Sink,
} from '../../contract/plugin.ts'
import { randomUUID } from 'node:crypto'
import { stateOwner } from '../../kit/state-owner.ts'
import type { RedisSinkConfig } from '../../generated/config-types.ts'
import { connect, type RedisHandle } from './connect.ts'
import { type Command, type Driver, type Fence, ReplyError, sortError } from './driver.ts'
import { checkSink } from './check.ts'
import { KeyOwner } from './key-owner.ts'
import { MODES, type Mode, modeOf, trimmer, type Write, writer } from './sink-commands.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import schema from './sink.schema.json' with { type: 'json' }
import { checkTemplate, isFixed, readsFields } from './template.ts'
import { parseUrl, validateConnection, connectionKeys } from './url.ts'

export default defineSink<RedisSinkConfig>({
  type: 'redis',
  schema: withKeys(schema, connectionKeys),
  onRedelivery: config => REDELIVERY[modeOf(config)][0],
  reason: config => REDELIVERY[modeOf(config)][1],
  readsValue: c => c.hash_field !== undefined || c.score !== undefined || c.entry === 'fields' || readsFields(c[modeOf(c)] ?? ''),
  validateConfig,
  fence: c =>
    ['single', 'sentinel'].includes(parseUrl(c.url).kind)
      ? 'is rejected by the server: each write checks a token of its lane, in one script; a warning is logged if the user may not run scripts'
      : 'may finish a write that it has started; neither a cluster nor the embedded store rejects it',
  late(config, leased) {
    const { kind } = parseUrl(config.url)
    if (kind === 'embedded') return undefined
    if (kind === 'cluster')
      return 'a write that a stalled connection delivers late takes effect after newer ones; a cluster does not reject it'
    if (leased) return undefined
    return (
      'if a process has ended, a write that its stalled connection delivers late takes effect after newer ones; while the process runs, ' +
      'the server rejects such a write'
    )
  },
  preview(config) {
    const write = writer(config)
    return m => {
      const { key } = write(m)
      return { topic: key, key: m.encodeKey(), value: m.encode(), headers: m.headers }
    }
  },
  create: (config, ctx) => redisSink(config, ctx),
  check: checkSink,
})

const REDELIVERY: Record<Mode, ['idempotent' | 'appends' | 'ephemeral', string]> = {
  channel: ['ephemeral', 'not persisted; only current subscribers receive it'],
  stream: ['appends', 'a repeated write adds a second entry'],
  list: ['appends', 'a repeated write adds a second element'],
  hash: ['idempotent', 'a repeated write replaces the value of the field'],
  sorted_set: ['idempotent', 'a set has each member once; with unique_score, one member per score'],
  string: ['idempotent', 'a repeated write replaces the value'],
}

/** Settings that only some modes have. */
const OWN: Partial<Record<keyof RedisSinkConfig, readonly Mode[]>> = {
  hash_field: ['hash'],
  score: ['sorted_set'],
  max_length: ['stream', 'list', 'sorted_set'],
  ttl: ['stream', 'list', 'hash', 'sorted_set', 'string'],
}
/** s. A connection that is stalled for longer does not come back. */
const OWN_FENCE = 3600
/** Commands sent at once: the sink waits for their replies together, and one transaction holds at most this many. */
const PIPELINE = 1000

function validateConfig(config: RedisSinkConfig): ConfigProblem[] {
  const problems = validateConnection(config)
  const given = MODES.filter(mode => config[mode] !== undefined)
  if (given.length === 0) problems.push({ path: [], message: `set one of ${MODES.join(', ')}` })
  for (const mode of given.slice(1)) problems.push({ path: [mode], message: `set either ${given[0]} or ${mode}, not both` })
  for (const mode of given) {
    const bad = checkTemplate(config[mode]!)
    if (bad !== undefined) problems.push({ path: [mode], message: bad })
  }
  if (given.length !== 1) return problems
  for (const [setting, modes] of Object.entries(OWN)) {
    if (config[setting as keyof RedisSinkConfig] !== undefined && !modes.includes(given[0]))
      problems.push({ path: [setting], message: `works with ${modes.join(', ')}, not with ${given[0]}` })
  }
  if (config.unique_score && config.sorted_set === undefined)
    problems.push({ path: ['unique_score'], message: `works with sorted_set, not with ${given[0]}` })
  if (config.on_foreign_key === 'refuse' && config.channel !== undefined)
    problems.push({ path: ['on_foreign_key'], message: 'works with keys, not with a channel; remove it' })
  if (config.sorted_set !== undefined && config.score === undefined)
    problems.push({ path: ['sorted_set'], message: 'needs score: set it to the field that orders the members' })
  return problems
}

/** A write, and the index of its message in the batch. */
interface Indexed {
  readonly index: number
  readonly write: Write
}
type Portion = readonly Indexed[]

function redisSink(config: RedisSinkConfig, ctx: Context): Sink {
  const mode = modeOf(config)
  let warned = false
  const make = writer(config, (given, score) => {
    if (warned) return
    warned = true
    ctx.log.warn(
      { step: ctx.step, field: config.score },
      `Redis stores scores as doubles: ${given} is ordered as ${score}, and members of one score by their text (logged once)`,
    )
  })
  const trim = trimmer(config)
  const fixed = isFixed(config[mode]!)
  const written = ctx.metrics.counter('redis_written_total', 'Messages that Redis has acknowledged.', { step: ctx.step, mode })
  const owner = config.on_foreign_key === 'refuse' ? new KeyOwner(ctx.pipeline) : undefined
  let handle: RedisHandle | undefined
  /** By lane: the token that its writes present; undefined: the server cannot compare it. */
  const fences = new Map<string, Fence | undefined>()
  let saidUnfenced = false

  /** Records the messages that the server rejected. @throws when the reason is not the message */
  const run = async (writes: Portion, failed: Map<number, Error>, lane: LaneInfo): Promise<void> => {
    const commands: Command[] = []
    const owners: number[] = []
    for (const { index, write } of writes) {
      for (const command of write.commands) {
        commands.push(command)
        owners.push(index)
      }
    }
    if (trim) {
      for (const key of new Set(writes.map(w => w.write.key))) {
        commands.push(trim(key))
        owners.push(-1)
      }
    }
    const atomic = writes[0].write.atomic
    const fence = fences.get(lane.id)
    let replies: Awaited<ReturnType<Driver['run']>>
    try {
      replies = await handle!.driver.run(commands, { atomic, fence })
    } catch (error) {
      // The write may still be in transit, and must not arrive after later ones.
      if (fence && fence === fences.get(lane.id)) fences.set(lane.id, { ...fence, attempt: fence.attempt + 1 })
      throw error
    }
    replies.forEach((reply, i) => {
      if (!(reply instanceof ReplyError)) return
      const error = sortError(reply, `${mode} ${String(commands[i][1])}`)
      // If the name comes from messages, those messages are at fault.
      const theirs = error instanceof DataError || (reply.kind === 'WRONGTYPE' && !fixed)
      if (!theirs || owners[i] === -1) throw error instanceof DataError ? new EnvironmentError(error.message, reply) : error
      failed.set(owners[i], error instanceof DataError ? error : new DataError(error.message, reply))
    })
  }

  const keyOf = (lane: LaneInfo): string =>
    `__runner:fence:${stateOwner(`${ctx.pipeline}.${ctx.version}`, lane.group)}:${ctx.step}:${lane.id}`

  const raise = async (driver: Driver, lane: LaneInfo, fence: Fence, risk: string): Promise<void> => {
    const raised = (await driver.fence?.(fence)) === true
    fences.set(lane.id, raised ? fence : undefined)
    // `explain` shows that a cluster and the embedded store cannot do this.
    if (raised || saidUnfenced || !driver.fence || parseUrl(config.url).kind === 'cluster') return
    saidUnfenced = true
    ctx.log.warn(
      { step: ctx.step },
      `writes are not fenced: this user may not run EVAL with the keys __runner:fence:*, so ${risk}. Add +eval and ~__runner:fence:* to the ACL of the user`,
    )
  }

  return {
    async open() {
      handle ??= await connect(config)
      // Fails before anything is read.
      const problem = fixed ? await owner?.claim(handle.driver, config[mode]!) : undefined
      if (problem !== undefined) throw new EnvironmentError(problem)
    },

    async write(messages, context) {
      if (handle === undefined) throw new ConnectionError('the sink is not open')
      const { lane } = context
      // A lane without a lease is not claimed. Only this process knows the key, so it refuses what this process has sent before.
      if (!fences.has(lane.id)) {
        const own = { key: `${keyOf(lane)}:${randomUUID()}`, token: randomUUID(), attempt: 0, seconds: OWN_FENCE }
        await raise(handle.driver, lane, own, 'a write that a stalled connection delivers late takes effect after newer ones')
      }
      const failed = new Map<number, Error>()
      for (const part of parts(messages, make, failed)) {
        const ours = owner && !fixed ? await owned(owner, handle.driver, part, failed) : part
        if (ours.length > 0) {
          context.assertOwned?.()
          await run(ours, failed, lane)
          context.progress?.()
        }
      }
      written.inc(messages.length - failed.size)
      if (failed.size > 0) throw new BatchError(failed)
    },

    async claim(lane) {
      if (handle === undefined) throw new ConnectionError('the sink is not open')
      const fence = { key: keyOf(lane), token: randomUUID(), attempt: 0 }
      await raise(handle.driver, lane, fence, 'an instance that has lost a lane may finish a write that it has started')
    },

    healthy: () => handle?.driver.healthy() ?? false,

    async close() {
      await handle?.release()
    },
  }
}

/** The writes to keys that this pipeline owns. If the name comes from messages, the others fail. */
async function owned(owner: KeyOwner, driver: Driver, part: Portion, failed: Map<number, Error>): Promise<Portion> {
  const problems = new Map<string, string | undefined>()
  for (const { write } of part) if (!problems.has(write.key)) problems.set(write.key, await owner.claim(driver, write.key))
  return part.filter(({ index, write }) => {
    const problem = problems.get(write.key)
    if (problem !== undefined) failed.set(index, new DataError(problem))
    return problem === undefined
  })
}

/** Portions of a batch, in order; a portion of atomic writes has one key, as a transaction requires. */
function* parts(messages: readonly Message[], make: (m: Message) => Write, failed: Map<number, Error>): Generator<Portion> {
  let part: Indexed[] = []
  let commands = 0
  for (let index = 0; index < messages.length; index++) {
    let write: Write
    try {
      write = make(messages[index])
    } catch (error) {
      failed.set(
        index,
        error instanceof DataError ? error : new DataError(`the message cannot be written: ${(error as Error).message}`, error),
      )
      continue
    }
    if (part.length > 0 && (commands >= PIPELINE || (write.atomic && write.key !== part[0].write.key))) {
      yield part
      part = []
      commands = 0
    }
    part.push({ index, write })
    commands += write.commands.length
  }
  if (part.length > 0) yield part
}
