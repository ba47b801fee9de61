/** Plans and applies the changes that make a log match its catalogs. */
import type { Acl } from '../connectors/kafka/log-admin.ts'
import type { Driver } from '../connectors/kafka/driver.ts'
import type { Catalog, WantedTopic } from './catalog.ts'

/** One difference. `refuse`: the change is impossible; `note` has the reason and the fix. */
export interface Change {
  readonly action: 'create' | 'grow' | 'set' | 'grant' | 'revoke' | 'delete' | 'refuse' | 'skip'
  /** `topic wallet-events`, `group ledger-projector` */
  readonly subject: string
  readonly what: string
  readonly from: string | null
  readonly to: string | null
  readonly note?: string
  readonly apply?: (driver: Driver) => Promise<void>
}

export interface PlanOptions {
  /** Also delete topics that are not in the catalogs, and ACLs of their topics and groups. */
  readonly prune?: boolean
}

/** Read-only. Topics whose name starts with `__` belong to Kafka or the runner and are never changed. */
export async function plan(driver: Driver, catalogs: readonly Catalog[], options: PlanOptions = {}): Promise<Change[]> {
  // A topic may be in several catalogs.
  const wanted = [...new Map(catalogs.flatMap(c => c.topics).map(t => [t.name, t])).values()]
  const existing = new Map((await driver.topics()).map(t => [t.name, t]))
  const configs = await driver.admin.configs([...new Set(wanted.filter(t => existing.has(t.name)).map(t => t.name))])
  const changes: Change[] = []
  for (const topic of wanted) {
    const found = existing.get(topic.name)
    if (!found) changes.push(creation(topic))
    else {
      changes.push(...growth(topic, found.partitions))
      if (!driver.scope.startsWith('embedded:')) changes.push(...replication(topic, found.replication))
      for (const [key, value] of Object.entries(topic.config)) {
        const now = configs.get(topic.name)?.get(key)?.value ?? null
        if (now === null || !sameSetting(now, value)) changes.push(setting(topic.name, key, now, value))
      }
    }
  }
  changes.push(...(await rights(driver, catalogs, options)))
  if (options.prune) {
    const names = new Set(wanted.map(t => t.name))
    for (const { name, partitions } of existing.values())
      if (!names.has(name) && !name.startsWith('__')) changes.push(deletion(name, partitions))
  }
  return changes
}

/** Lists may have spaces and any order. */
const sameSetting = (a: string, b: string): boolean => a === b || sorted(a) === sorted(b)
const sorted = (list: string): string =>
  list
    .split(',')
    .map(s => s.trim())
    .sort()
    .join()

function creation({ name, partitions = 1, replication, config }: WantedTopic): Change {
  const details = [
    `${partitions} partition${partitions === 1 ? '' : 's'}`,
    ...(replication === undefined ? [] : [`replication ${replication}`]),
    ...Object.entries(config).map(([key, value]) => `${key}=${value}`),
  ]
  return {
    action: 'create',
    subject: `topic ${name}`,
    what: 'topic',
    from: null,
    to: details.join(', '),
    apply: driver => driver.createTopics([{ topic: name, partitions, replication, config }]),
  }
}

function growth({ name, partitions }: WantedTopic, have: number): Change[] {
  if (partitions === undefined || partitions === have) return []
  const common = { subject: `topic ${name}`, what: 'partitions', from: String(have), to: String(partitions) }
  if (partitions > have)
    return [
      {
        ...common,
        action: 'grow',
        note: 'keys may be written to other partitions from now on',
        apply: driver => driver.admin.addPartitions(name, partitions),
      },
    ]
  return [
    {
      ...common,
      action: 'refuse',
      note: `partitions cannot be removed: write ${have} in the catalog, or create a new topic and copy the records to it`,
    },
  ]
}

function replication({ name, replication: want }: WantedTopic, have: number): Change[] {
  if (want === undefined || want === have) return []
  return [
    {
      action: 'refuse',
      subject: `topic ${name}`,
      what: 'replication',
      from: String(have),
      to: String(want),
      note: `replicas cannot be moved here: use kafka-reassign-partitions, or write ${have} in the catalog`,
    },
  ]
}

const setting = (topic: string, key: string, from: string | null, to: string): Change => ({
  action: 'set',
  subject: `topic ${topic}`,
  what: key,
  from,
  to,
  apply: driver => driver.admin.alterConfigs(topic, { [key]: to }),
})

const deletion = (topic: string, partitions: number): Change => ({
  action: 'delete',
  subject: `topic ${topic}`,
  what: 'topic',
  from: `${partitions} partition${partitions === 1 ? '' : 's'}`,
  to: null,
  note: 'with all its records',
  apply: driver => driver.admin.deleteTopics([topic]),
})

const aclKey = (a: Acl): string => JSON.stringify([a.resource, a.name, a.pattern, a.principal, a.host, a.operation, a.permission])
const subjectOf = (a: Acl): string => `${a.resource.replace('_', ' ')} ${a.name}${a.pattern === 'prefixed' ? '*' : ''}`
const describeAcl = (a: Acl): string => `${a.permission} ${a.operation} to ${a.principal}${a.host === '*' ? '' : ` from ${a.host}`}`

async function rights(driver: Driver, catalogs: readonly Catalog[], { prune = false }: PlanOptions): Promise<Change[]> {
  const wanted = catalogs.flatMap(c => c.acls)
  if (wanted.length === 0 && !prune) return []
  const have = await driver.admin.acls()
  if (have === undefined) {
    if (wanted.length === 0) return []
    const note = driver.scope.startsWith('embedded:') ? 'the embedded log has no logins' : 'these brokers have no authorizer'
    return [{ action: 'skip', subject: 'ACLs', what: `${wanted.length} ACLs`, from: null, to: null, note }]
  }
  const known = new Set(have.map(aclKey))
  const listed = new Set(wanted.map(aclKey))
  const changes: Change[] = wanted
    .filter(acl => !known.has(aclKey(acl)))
    .map(acl => ({
      action: 'grant',
      subject: subjectOf(acl),
      what: 'acl',
      from: null,
      to: describeAcl(acl),
      apply: d => d.admin.createAcls([acl]),
    }))
  if (!prune) return changes
  const ours = new Set([...catalogs.flatMap(c => c.topics.map(t => `topic ${t.name}`)), ...wanted.map(subjectOf)])
  for (const acl of have) {
    const subject = subjectOf(acl)
    if (!ours.has(subject) || listed.has(aclKey(acl))) continue
    changes.push({ action: 'revoke', subject, what: 'acl', from: describeAcl(acl), to: null, apply: d => d.admin.deleteAcls([acl]) })
  }
  return changes
}
