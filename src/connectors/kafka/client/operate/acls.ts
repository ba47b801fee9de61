/** ACLs: the permissions of users on topics, groups and transactional ids. */
import type { Acl, AclOperation } from '../../log-admin.ts'
import type { Cluster } from '../cluster.ts'
import { typeOf } from '../errors.ts'
import { ask, brokerError } from './ask.ts'

/** Kafka's numbers. */
const ANY = 1
const RESOURCE = { topic: 2, group: 3, transactional_id: 5 } as const
const PATTERN = { literal: 3, prefixed: 4 } as const
const PERMISSION = { deny: 2, allow: 3 } as const
const OPERATION: Record<AclOperation, number> = {
  all: 2,
  read: 3,
  write: 4,
  create: 5,
  delete: 6,
  alter: 7,
  describe: 8,
  describe_configs: 10,
  alter_configs: 11,
}

const nameOf = <K extends string>(numbers: Record<K, number>, n: number): K | undefined =>
  (Object.keys(numbers) as K[]).find(key => numbers[key] === n)

/** Kafka encodes permissions as bits by the number of the operation. */
export const operationsOf = (bits: number): ReadonlySet<AclOperation> =>
  new Set((Object.keys(OPERATION) as AclOperation[]).filter(name => (bits & (1 << OPERATION[name])) !== 0))

export async function listAcls(cluster: Cluster): Promise<Acl[] | undefined> {
  const found: Acl[] = []
  for (const resource of ['topic', 'group', 'transactional_id'] as const) {
    const resources = await describe(cluster, RESOURCE[resource])
    if (resources === undefined) return undefined
    for (const r of resources) {
      const pattern = nameOf(PATTERN, r.resourcePatternType)
      for (const a of r.acls) {
        const operation = nameOf(OPERATION, a.operation)
        const permission = nameOf(PERMISSION, a.permissionType)
        // Entries that this version does not know are neither shown nor removed.
        if (pattern === undefined || operation === undefined || permission === undefined) continue
        found.push({ resource, name: r.resourceName, pattern, principal: a.principal, host: a.host, operation, permission })
      }
    }
  }
  return found
}

function describe(cluster: Cluster, resourceType: number): Promise<any[] | undefined> {
  return ask(cluster, 'list the ACLs', async broker => {
    try {
      const answer = await broker.describeAcls({
        resourceType,
        resourceName: null,
        resourcePatternType: ANY,
        principal: null,
        host: null,
        operation: ANY,
        permissionType: ANY,
      })
      return answer.resources as any[]
    } catch (error) {
      if (typeOf(error) === 'SECURITY_DISABLED') return undefined
      throw error
    }
  })
}

const encoded = (a: Acl): object => ({
  resourceType: RESOURCE[a.resource],
  resourceName: a.name,
  resourcePatternType: PATTERN[a.pattern],
  principal: a.principal,
  host: a.host,
  operation: OPERATION[a.operation],
  permissionType: PERMISSION[a.permission],
})

export async function createAcls(cluster: Cluster, acls: readonly Acl[]): Promise<void> {
  if (acls.length === 0) return
  await ask(cluster, 'add ACLs', broker => broker.createAcls({ acl: acls.map(encoded) }))
}

export async function deleteAcls(cluster: Cluster, acls: readonly Acl[]): Promise<void> {
  if (acls.length === 0) return
  await ask(cluster, 'remove ACLs', async broker => {
    const { filterResponses } = await broker.deleteAcls({ filters: acls.map(encoded) })
    for (const { errorCode, errorMessage } of filterResponses) if (errorCode !== 0) throw brokerError(errorCode, errorMessage)
  })
}
