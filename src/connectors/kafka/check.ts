/** `runner check` of the kafka plugins: brokers, login, topics, group, and the permissions on them. Creates and joins nothing. */
import { stateOwner } from '../../kit/state-owner.ts'
import { existsSync } from 'node:fs'
import type { KafkaSinkConfig, KafkaSourceConfig } from '../../generated/config-types.ts'
import type { CheckResult, CheckContext } from '../../contract/plugin.ts'
import { failureOf } from '../../kit/tls-failure.ts'
import { checkWritable } from '../../kit/check-writable.ts'
import { formatDuration } from '../../kit/values/time.ts'
import { dateConflicts, type HeldDates, heldDates, limitsOf } from './dates.ts'
import type { AclOperation, TopicSetting } from './log-admin.ts'
import { clusterOptions, connect, type ConnectionConfig, embeddedPath, isEmbedded, scopeOf } from './connect.ts'
import type { KafkaDriver } from './client/driver.ts'

export async function checkSource(config: KafkaSourceConfig, ctx: CheckContext): Promise<CheckResult[]> {
  if (isEmbedded(config.brokers)) return checkEmbedded(config, ctx, config.topics)
  return withBrokers(config, ctx, async look => {
    const found: CheckResult[] = []
    for (const topic of config.topics) found.push(await look.topic(topic, 'read'))
    found.push(await look.group(config.group ?? ctx.pipeline))
    if (ctx.checkpoints) found.push(...(await look.checkpoints(`${config.topics[0]}|0`, config.group)))
    return found
  })
}

export async function checkSink(config: KafkaSinkConfig, ctx: CheckContext): Promise<CheckResult[]> {
  const topics = config.topic === undefined ? [] : [config.topic]
  const named: CheckResult[] =
    config.topic === undefined ? [{ what: 'topics', ok: true, detail: 'not checked: each message determines its topic' }] : []
  if (isEmbedded(config.brokers)) return [...(await checkEmbedded(config, ctx, topics)), ...named]
  const held = inputDates(ctx)
  return withBrokers(config, ctx, async look => {
    for (const topic of topics) {
      const found = await look.topic(topic, 'write', config)
      named.push(found)
      // Dead letters are dated when they are written.
      if (found.ok && config.timestamp !== 'now' && ctx.role !== 'dlq')
        named.push(...(await look.dates(topic, config.timestamp, await held)))
    }
    if (ctx.checkpoints) named.push(...(await look.checkpoints('check')))
    if (ctx.delivery === 'exactly_once') named.push(...(await look.markers(topics)))
    return named
  })
}

/** The dates in the input topics. Topics that cannot be read are left out: the check of their source reports why. */
async function inputDates(ctx: CheckContext): Promise<HeldDates[]> {
  const sources = (ctx.sources ?? []).filter(s => s.type === 'kafka').map(s => s.config as KafkaSourceConfig)
  const found = await Promise.all(
    sources
      .filter(config => !isEmbedded(config.brokers))
      .map(async config => {
        const { driver, release } = await connect(config, ctx.log)
        try {
          return [...(await driver.admin.configs(config.topics))].map(([topic, settings]) => heldDates(topic, settings))
        } finally {
          await release()
        }
      })
      .map(asked => asked.catch((): HeldDates[] => [])),
  )
  return found.flat()
}

async function checkEmbedded(config: ConnectionConfig, ctx: CheckContext, topics: readonly string[]): Promise<CheckResult[]> {
  const path = embeddedPath(config.brokers)
  const what = `embedded log ${path}`
  // Opening creates the file; a check must not.
  if (!existsSync(path)) {
    return [checkWritable(what, path, 'exists; the sink appends to it')]
  }
  try {
    const { driver, release } = await connect(config, ctx.log)
    try {
      const known = new Map((await driver.topics()).map(t => [t.name, t.partitions]))
      return [
        { what, ok: true, detail: `${known.size} topic(s)` },
        ...topics.map(topic => ({
          what: `topic ${topic}`,
          ok: true,
          detail: known.has(topic) ? `${known.get(topic)} partition(s)` : 'will be created on first use',
        })),
      ]
    } finally {
      await release()
    }
  } catch (error) {
    return [{ what, ok: false, detail: (error as Error).message, fix: `ls -l ${path}` }]
  }
}

/** The checks on brokers that respond. */
class Look {
  private readonly driver: KafkaDriver
  private readonly config: ConnectionConfig
  private readonly ctx: CheckContext

  constructor(driver: KafkaDriver, config: ConnectionConfig, ctx: CheckContext) {
    this.driver = driver
    this.config = config
    this.ctx = ctx
  }

  /** `made`: how the step creates a missing topic, if it does. */
  async topic(topic: string, operation: 'read' | 'write', made?: { create_topics: boolean; partitions: number }): Promise<CheckResult> {
    const what = `topic ${topic}`
    return this.finding(what, async () => {
      const { topicRights } = await import('./client/operate/rights.ts')
      const { found, partitions, rights } = await topicRights(this.driver.admin.cluster, topic)
      const grant = this.grant(operation, `--topic ${topic}`)
      if (found === 'denied')
        return { what, ok: false, detail: `permission to ${operation} is missing, and the existence of the topic is hidden`, fix: grant }
      if (found === 'no') {
        if (made?.create_topics) return { what, ok: true, detail: `will be created with ${made.partitions} partition(s)` }
        const fix = `runner topics create ${topic}${(made?.partitions ?? 1) > 1 ? ` --partitions ${made!.partitions}` : ''}`
        return { what, ok: false, detail: operation === 'read' ? 'does not exist' : 'does not exist, and create_topics is off', fix }
      }
      if (rights !== undefined && !rights.has(operation) && !rights.has('all'))
        return { what, ok: false, detail: `${partitions} partition(s), but permission to ${operation} is missing`, fix: grant }
      return {
        what,
        ok: true,
        detail: `${partitions} partition(s), ${operation} allowed${rights === undefined ? ', not checked: the brokers do not report permissions' : ''}`,
      }
    })
  }

  /** How the topic treats records with the dates that the sink gives them; nothing if it accepts and keeps any date. */
  async dates(topic: string, timestamp: string, inputs: readonly HeldDates[]): Promise<CheckResult[]> {
    const what = `dates in topic ${topic}`
    let settings: ReadonlyMap<string, TopicSetting> | undefined
    try {
      settings = (await this.driver.admin.configs([topic])).get(topic)
    } catch (error) {
      // The topic does not exist yet.
      if (!(await this.driver.topics()).some(t => t.name === topic)) return []
      return [{ what, ok: true, detail: `not compared: the settings of the topic are unknown (${(error as Error).message})` }]
    }
    if (settings === undefined) return []
    const limits = limitsOf(settings)
    const { after, before, keeps } = limits
    const rules = [
      ...(after < Infinity
        ? [`more than ${formatDuration(after)} in the future go to the dead-letter queue (message.timestamp.after.max.ms)`]
        : []),
      ...(before < Infinity ? [`older than ${formatDuration(before)} go to the dead-letter queue (message.timestamp.before.max.ms)`] : []),
      ...(keeps < Infinity ? [`older than ${formatDuration(keeps)} are deleted by Kafka at its next check (retention.ms)`] : []),
    ]
    if (rules.length === 0) return []
    return [
      {
        what,
        ok: true,
        detail: `timestamp: ${timestamp}; records dated ${rules.join(', ')}; with timestamp: now they are dated at the time of writing`,
      },
      ...inputs
        .flatMap(input => dateConflicts(input, limits))
        .map(({ problem, setting, value }) => ({
          what,
          ok: true,
          detail: problem,
          fix: `kafka-configs --bootstrap-server ${this.config.brokers} --alter --topic ${topic} --add-config ${setting}=${value}, or set \`timestamp: now\` on the sink`,
        })),
    ]
  }

  async group(group: string): Promise<CheckResult> {
    const what = `group ${group}`
    return this.finding(what, async () => {
      const { groupRights } = await import('./client/operate/rights.ts')
      const rights = await groupRights(this.driver.admin.cluster, group)
      if (rights !== undefined && !rights.has('read') && !rights.has('all'))
        return { what, ok: false, detail: 'permission to join is missing', fix: this.grant('read', `--group ${group}`) }
      return { what, ok: true, detail: rights === undefined ? 'not checked: the brokers do not report permissions' : 'join allowed' }
    })
  }

  /** @param lane one that the pipeline will have, as in its transactional ids. */
  async checkpoints(lane: string, group?: string): Promise<CheckResult[]> {
    const { mayUseTransactionalId, topicRights } = await import('./client/operate/rights.ts')
    const { checkpointTopic } = await import('./client/transact/checkpoint.ts')
    const id = stateOwner(`${this.ctx.pipeline}.${this.ctx.version}`, group)
    const prefix = `transactional ids ${id}|*`
    const topic = checkpointTopic(id)
    const what = `checkpoint topic ${topic}`
    const { cluster } = this.driver.admin
    return [
      await this.finding(prefix, async () =>
        (await mayUseTransactionalId(cluster, `${id}|${lane}`))
          ? { what: prefix, ok: true, detail: 'allowed' }
          : {
              what: prefix,
              ok: false,
              detail: 'permission to use them is missing',
              fix: this.grant('write', `--transactional-id '${id}|' --resource-pattern-type prefixed`),
            },
      ),
      await this.finding(what, async () => {
        const { found, rights } = await topicRights(cluster, topic)
        const missing = (['read', 'write'] as const).filter(o => rights !== undefined && !rights.has(o) && !rights.has('all'))
        if (found === 'denied' || (found === 'yes' && missing.length > 0)) {
          const lacking = found === 'denied' ? (['read', 'write', 'create'] as const) : missing
          return { what, ok: false, detail: `missing permission: ${lacking.join(', ')}`, fix: this.grants(lacking, `--topic ${topic}`) }
        }
        return { what, ok: true, detail: found === 'yes' ? 'exists, read and write allowed' : 'will be created' }
      }),
    ]
  }

  /** Whether an error of the brokers can break exactly-once delivery into these topics. Nothing if not, or if it cannot be determined. */
  async markers(topics: readonly string[]): Promise<CheckResult[]> {
    const { exposedTopics, lostMarkers } = await import('./client/transact/lost-markers.ts')
    const exposed = await exposedTopics(this.driver.admin.cluster, topics).catch(() => [])
    return exposed.map(topic => ({
      what: `replicas of topic ${topic}`,
      ok: true,
      detail: lostMarkers([topic]),
      fix: `kafka-reassign-partitions --bootstrap-server ${this.config.brokers} --reassignment-json-file FILE --execute, with two or more replicas for each partition of ${topic}`,
    }))
  }

  private grant(operation: AclOperation, resource: string): string {
    return this.grants([operation], resource)
  }

  private grants(operations: readonly AclOperation[], resource: string): string {
    const { brokers, sasl_username: user } = this.config
    const flags = operations.map(o => `--operation ${o[0].toUpperCase()}${o.slice(1)}`).join(' ')
    return `kafka-acls --bootstrap-server ${brokers} --add --allow-principal User:${user || 'ANONYMOUS'} ${flags} ${resource}`
  }

  private async finding(what: string, look: () => Promise<CheckResult>): Promise<CheckResult> {
    try {
      return await look()
    } catch (error) {
      return { what, ok: false, detail: (error as Error).message }
    }
  }
}

/** Checks each configured broker, each advertised one, and then runs `ask`. */
async function withBrokers(
  config: ConnectionConfig,
  ctx: CheckContext,
  ask: (look: Look) => Promise<CheckResult[]>,
): Promise<CheckResult[]> {
  const [{ KafkaDriver }, options] = await Promise.all([
    import('./client/driver.ts'),
    clusterOptions(config, ctx.log).catch((error: Error) => error),
  ])
  if (options instanceof Error) return [{ what: 'TLS settings', ok: false, detail: options.message }]
  const drivers: KafkaDriver[] = []
  const close = (): void => drivers.forEach(d => void d.close())
  ctx.signal.addEventListener('abort', close)
  const dial = async (address: string, advertised: boolean): Promise<{ result: CheckResult; driver?: KafkaDriver }> => {
    const driver = new KafkaDriver(scopeOf({ brokers: address }), { ...options, brokers: [address], connectTimeoutMs: 5000 })
    drivers.push(driver)
    const what = `broker ${address}${advertised ? ' (advertised by the brokers)' : ''}`
    try {
      await driver.connect()
      return { result: { what, ok: true, detail: login(config) }, driver }
    } catch (error) {
      const tls = failureOf(error)
      if (tls !== undefined) return { result: { what, ok: false, detail: tls.what, fix: tls.fix } }
      return {
        result: { what, ok: false, detail: (error as Error).message, fix: whatToDo(config, address, (error as Error).message, advertised) },
      }
    }
  }
  try {
    const dialled = await Promise.all(options.brokers.map(address => dial(address, false)))
    const findings = dialled.map(d => d.result)
    const driver = dialled.find(d => d.driver)?.driver
    if (!driver) return findings
    const named = driver.admin.cluster.advertised.map(a => `${a.host.includes(':') ? `[${a.host}]` : a.host}:${a.port}`)
    const others = named.filter(address => !options.brokers.includes(address))
    findings.push(...(await Promise.all(others.map(address => dial(address, true)))).map(d => d.result))
    return [...findings, ...(await ask(new Look(driver, config, ctx)))]
  } finally {
    ctx.signal.removeEventListener('abort', close)
    await Promise.all(drivers.map(d => d.close()))
  }
}

const login = ({ security_protocol: protocol, sasl_mechanism: mechanism, sasl_username: user }: ConnectionConfig): string =>
  protocol.startsWith('SASL') ? `${protocol}, ${mechanism}, logged in${user === '' ? '' : ` as ${user}`}` : protocol

function whatToDo({ security_protocol: protocol }: ConnectionConfig, address: string, message: string, advertised: boolean): string {
  const [host, port] = [address.slice(0, address.lastIndexOf(':')), address.slice(address.lastIndexOf(':') + 1)]
  if (/sasl_|SASL|Authentication/.test(message) && protocol.startsWith('SASL'))
    return 'check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD'
  if (/security_protocol|TLS|certificate/.test(message))
    return `openssl s_client -connect ${address} </dev/null; then set KAFKA_SECURITY_PROTOCOL and KAFKA_SSL_CA to match the port`
  if (advertised)
    return `nc -vz ${host} ${port}; the brokers direct clients to this address: set their advertised.listeners to addresses that this machine can reach`
  return `nc -vz ${host} ${port}; check that a broker is running at this address, or correct KAFKA_BROKERS`
}
