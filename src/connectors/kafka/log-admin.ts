/**
 * The interface of the operations commands to a log, beyond the needs of pipelines: settings of topics, permissions, and groups from
 * outside.
 */
import type { TopicPartition } from './driver.ts'

/** The value of a setting for a topic. */
export interface TopicSetting {
  readonly value: string
  /** Set on the topic itself; false: a default of the log. */
  readonly own: boolean
}

const ACL_OPERATIONS = ['all', 'read', 'write', 'create', 'delete', 'alter', 'describe', 'describe_configs', 'alter_configs'] as const
export type AclOperation = (typeof ACL_OPERATIONS)[number]

export interface Acl {
  readonly resource: 'topic' | 'group' | 'transactional_id'
  readonly name: string
  readonly pattern: 'literal' | 'prefixed'
  /** `User:name`; `User:*` is every user. */
  readonly principal: string
  /** An address, `*`: any. */
  readonly host: string
  readonly operation: AclOperation
  readonly permission: 'allow' | 'deny'
}

export interface GroupMember {
  readonly id: string
  /** The name that the member uses. */
  readonly client: string
  /** Where it runs: an address, or a process of this machine. */
  readonly host: string
  /** Name and version of its pipeline; undefined: not reported. */
  readonly owner?: string
}

export interface LogAdmin {
  /** The settings in force per topic. @throws {EnvironmentError} for a topic that does not exist. */
  configs(topics: readonly string[]): Promise<Map<string, Map<string, TopicSetting>>>
  /**
   * Changes only the given settings; null: resets to the default of the log. @throws {EnvironmentError} for a setting or a value that the
   * log rejects.
   */
  alterConfigs(topic: string, changes: Readonly<Record<string, string | null>>): Promise<void>
  /** Adds partitions to a topic. A topic that already has as many is not changed. */
  addPartitions(topic: string, count: number): Promise<void>
  /** Deletes topics and all their records. Topics that do not exist are ignored. */
  deleteTopics(topics: readonly string[]): Promise<void>
  /** undefined: this log has no ACLs (no authorizer, or embedded). */
  acls(): Promise<Acl[] | undefined>
  createAcls(acls: readonly Acl[]): Promise<void>
  deleteAcls(acls: readonly Acl[]): Promise<void>
  /** The current members of the group. Empty: it is idle, or does not exist. */
  members(group: string): Promise<GroupMember[]>
  /** Sets offsets of an idle group. @throws {EnvironmentError} when it has members. */
  setOffsets(group: string, offsets: readonly (TopicPartition & { readonly offset: number })[]): Promise<void>
}
