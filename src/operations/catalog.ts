/** Reads a topic catalog; every problem has a position, as in a pipeline file. */
import { dirname } from 'node:path'
import catalogSchema from '../../schemas/topics.schema.json' with { type: 'json' }
import { internalTopic } from '../connectors/kafka/link/ends.ts'
import type { RepartitionConfig } from '../generated/config-types.ts'
import type { Acl, AclOperation } from '../connectors/kafka/log-admin.ts'
import { convert } from '../config/convert.ts'
import { type Env, resolveTree } from '../config/env.ts'
import { fill } from '../config/fill.ts'
import { diagnose } from '../config/diagnose.ts'
import { checkNumber } from '../config/numbers.ts'
import type { Pipeline, Problem } from '../config/model.ts'
import { parseText } from '../config/parse.ts'
import { Problems } from '../config/problems.ts'
import { readText } from '../config/read.ts'
import { type Locate, report } from '../config/report.ts'
import type { Schema } from '../config/schema.ts'
import { suggest } from '../kit/text/suggest.ts'
import { find, type MapNode, type Path, SourceText, valueSpan } from '../config/tree.ts'
import { TOPIC_SETTINGS } from './topic-settings.ts'

const SCHEMA = catalogSchema as unknown as Schema

export interface WantedTopic {
  readonly name: string
  /** Undefined: one for a new topic, any number for an existing one. */
  readonly partitions?: number
  /** Undefined: the default of the brokers. */
  readonly replication?: number
  readonly config: Readonly<Record<string, string>>
}

export interface Catalog {
  readonly file: string
  readonly topics: readonly WantedTopic[]
  readonly acls: readonly Acl[]
}

interface AclEntry {
  readonly principal: string
  readonly operations: readonly AclOperation[]
  readonly host: string
  readonly permission: Acl['permission']
}
type Settings = {
  partitions?: number
  replication?: number
  retention?: number | 'forever'
  config?: Record<string, string | number | boolean>
}
interface Content {
  readonly defaults?: Settings
  readonly topics: readonly (Settings & { name: string; acls?: readonly AclEntry[] })[]
  readonly groups?: readonly { name: string; acls: readonly AclEntry[] }[]
  readonly transactional_ids?: readonly { name: string; prefixed: boolean; acls: readonly AclEntry[] }[]
}

/** Does not throw for the contents of the file. `catalog` is present if and only if there are no problems. */
export async function loadCatalog(file: string, env: Env = process.env): Promise<{ catalog?: Catalog; problems: readonly Problem[] }> {
  const problems = new Problems()
  const text = await readText(file, problems)
  return text === undefined ? { problems: problems.list() } : loadCatalogText(file, text, env)
}

/** As `loadCatalog`, for a text. */
export async function loadCatalogText(
  file: string,
  text: string,
  env: Env = process.env,
): Promise<{ catalog?: Catalog; problems: readonly Problem[] }> {
  const problems = new Problems()
  const source = new SourceText(file, text)
  const parsed = parseText(source, problems)
  if (!parsed) return { problems: problems.list() }
  if (parsed.kind !== 'map') {
    problems.add(
      'CONFIG_TYPE',
      valueSpan({ node: parsed, key: undefined, partial: false }),
      [],
      'a topic catalog is a map with the key topics',
    )
    return { problems: problems.list() }
  }
  const root = resolveTree(parsed, [], env, dirname(file), problems) as MapNode
  const top = root.entries.values().next().value?.key ?? { source, start: 0, end: 1 }
  const unresolved = new Set<string>()
  const filled = fill(root, SCHEMA, [], {
    root: SCHEMA,
    env,
    base: dirname(file),
    problems,
    at: top,
    unresolved,
    lenient: false,
    onNumber: (node, schemas, path) => checkNumber(node, schemas, path, problems),
  })
  const place: Locate = path => {
    const found = find(root, path)
    return { path, find: { ...found, key: found.key ?? top } }
  }
  report(await diagnose(filled, SCHEMA), place, unresolved, problems)
  if (!problems.empty) return { problems: problems.list() }
  const content = convert(filled, SCHEMA, SCHEMA).value as Content
  checkContent(content, root, problems)
  return problems.empty ? { catalog: toCatalog(file, content), problems: problems.list() } : { problems: problems.list() }
}

/** The internal topics of a pipeline, as the first run would create them. */
export function internalTopics({ file, links = [], transforms }: Pipeline): Catalog {
  return {
    file,
    topics: links.map(({ index, sink }) => ({
      name: (sink.config as { topic: string }).topic,
      ...internalTopic(transforms[index].config as RepartitionConfig),
    })),
    acls: [],
  }
}

/** Checks that JSON Schema cannot express. */
function checkContent(content: Content, root: MapNode, problems: Problems): void {
  const names = new Set<string>()
  for (const [i, { name }] of content.topics.entries()) {
    const path = ['topics', i, 'name']
    if (names.has(name)) problems.add('CONFIG_DUPLICATE_NAME', valueSpan(find(root, path)), path, `topic ${name} is in the catalog twice`)
    names.add(name)
  }
  const maps: [Settings | undefined, Path][] = [
    [content.defaults, ['defaults']],
    ...content.topics.map((t, i) => [t, ['topics', i]] as [Settings, Path]),
  ]
  for (const [settings, path] of maps) {
    for (const key of Object.keys(settings?.config ?? {})) {
      const at = find(root, [...path, 'config', key])
      const span = at.key ?? valueSpan(at)
      if (key === 'retention.ms' && settings!.retention !== undefined)
        problems.add(
          'CONFIG_VALUE',
          span,
          [...path, 'config', key],
          'retention already sets how long records are kept: remove one of the two',
        )
      if (TOPIC_SETTINGS.has(key)) continue
      // Other brokers have other settings; a name similar to a setting of Kafka is a typo.
      const near = suggest(key, TOPIC_SETTINGS)
      if (near !== undefined) problems.add('CONFIG_UNKNOWN_KEY', span, [...path, 'config', key], `Kafka has no topic setting ${key}`, near)
    }
  }
}

function toCatalog(file: string, { defaults = {}, topics, groups = [], transactional_ids = [] }: Content): Catalog {
  return {
    file,
    topics: topics.map(t => ({
      name: t.name,
      partitions: t.partitions ?? defaults.partitions,
      replication: t.replication ?? defaults.replication,
      config: { ...settingsOf(defaults), ...settingsOf(t) },
    })),
    acls: [
      ...topics.flatMap(t => aclsOf('topic', t.name, t.acls)),
      ...groups.flatMap(g => aclsOf('group', g.name, g.acls)),
      ...transactional_ids.flatMap(t => aclsOf('transactional_id', t.name, t.acls, t.prefixed ? 'prefixed' : 'literal')),
    ],
  }
}

function settingsOf({ retention, config = {} }: Settings): Record<string, string> {
  const out = Object.fromEntries(Object.entries(config).map(([key, value]) => [key, String(value)]))
  if (retention !== undefined) out['retention.ms'] = retention === 'forever' ? '-1' : String(retention)
  return out
}

const aclsOf = (resource: Acl['resource'], name: string, entries: readonly AclEntry[] = [], pattern: Acl['pattern'] = 'literal'): Acl[] =>
  entries.flatMap(({ principal, operations, host, permission }) =>
    operations.map(operation => ({ resource, name, pattern, principal, host, operation, permission })),
  )
