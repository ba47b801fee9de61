/** Sources and sinks of Vector. */
import { address, type Config, given, hasSecret, kafkaSecurity, secret, setting } from './connection.ts'
import { type Draft, variablesIn } from './draft.ts'
import type { Note, Part } from './foreign.ts'
import { isTemplate, onlyPart, fieldName, withFields } from './template.ts'
import { Untranslatable } from './tree.ts'

type Make = (part: Part, draft: Draft, notes: Note[]) => Config | undefined

const plain = (value: string | undefined, draft: Draft): string | undefined =>
  value === undefined ? undefined : (variablesIn(value, draft) as string)

function kafkaOf(part: Part, draft: Draft, notes: Note[]): Config {
  const sasl = part.part('sasl')
  const isOn = sasl.take('enabled') === true
  return {
    brokers: setting(part.text('bootstrap_servers'), 'KAFKA_BROKERS', draft),
    ...kafkaSecurity(
      part.part('tls'),
      isOn ? sasl : undefined,
      { mechanism: 'mechanism', user: 'username', password: 'password' },
      draft,
      notes,
    ),
  }
}

/** Fields that Vector adds to a record. */
const named = (part: Part, keys: readonly string[]): Note[] =>
  keys
    .filter(key => part.has(key))
    .map(key => ({
      line: part.lineOf(key),
      what: `${key}: ${part.text(key) ?? ''}`,
      reason: 'the record gets no such field; expressions read meta.key, meta.topic, meta.partition, meta.offset and meta.headers',
    }))

const httpServer: Make = (part, _draft, notes) => {
  const at = /^(.*):(\d+)$/.exec(part.text('address') ?? '0.0.0.0:8080')
  const method = part.text('method')
  part.take('encoding')
  if (part.take('strict_path') === false)
    notes.push({ line: part.lineOf('strict_path'), what: 'strict_path: false', reason: 'only the path itself is served' })
  notes.push({
    line: part.line,
    what: `address: ${at?.[1] ?? ''}`,
    reason: 'it listens on 127.0.0.1; for other addresses, set host and auth',
  })
  return {
    http: given({
      port: Number(at?.[2] ?? 8080),
      path: part.text('path') ?? '/',
      methods: method && method !== 'POST' ? [method] : undefined,
    }),
  }
}

const MASK = /[*?[]/

export const sources: Readonly<Record<string, Make>> = {
  kafka: (part, draft, notes) => {
    const reset = part.text('auto_offset_reset')
    for (const key of ['commit_interval_ms', 'session_timeout_ms', 'drain_timeout_ms']) part.take(key)
    notes.push(...named(part, ['key_field', 'topic_key', 'partition_key', 'offset_key', 'headers_key']))
    return {
      kafka: given({
        ...kafkaOf(part, draft, notes),
        topics: part.texts('topics').map(t => plain(t, draft)),
        group: plain(part.text('group_id'), draft),
        start_at: reset === 'earliest' || reset === 'smallest' || reset === 'beginning' ? undefined : 'latest',
        format: draft.isText ? 'text' : undefined,
      }),
    }
  },
  file: (part, draft, notes) => {
    const [path, ...others] = part.texts('include')
    const from = part.text('read_from')
    for (const other of others)
      notes.push({ line: part.lineOf('include'), what: other, reason: 'a source reads one path or pattern: add a source per path' })
    if (from === 'end') notes.push({ line: part.lineOf('read_from'), what: 'read_from: end', reason: 'a file is read from its beginning' })
    for (const key of ['ignore_checkpoints', 'data_dir', 'glob_minimum_cooldown_ms', 'fingerprint']) part.take(key)
    return {
      file: { path: plain(path, draft), format: draft.isText ? 'text' : 'jsonl', ...(MASK.test(path ?? '') ? {} : { follow: true }) },
    }
  },
  stdin: (_part, draft) => ({ stdin: draft.isText ? { format: 'text' } : {} }),
  http_server: httpServer,
  http: httpServer,
  demo_logs: (part, _draft, notes) => {
    const interval = Number(part.take('interval') ?? 1)
    const count = part.take('count')
    notes.push({
      line: part.line,
      what: `format: ${part.text('format') ?? ''}`,
      reason: 'the fields are an example: see the generate source',
    })
    return {
      generate: given({
        fields: { message: { value: 'hello' }, id: { sequence: 1 } },
        rate: interval > 0 ? Number((1 / interval).toFixed(3)) : undefined,
        count: typeof count === 'number' ? count : undefined,
      }),
    }
  },
  redis: (part, draft, notes) => {
    const type = part.text('data_type') ?? 'list'
    const key = part.text('key') ?? ''
    const url = address(part.text('url'), 'REDIS_URL', draft)
    part.take('list')
    notes.push(...named(part, ['redis_key']))
    if (type === 'channel') return { redis: given({ url, patterns: [key] }) }
    notes.push({
      line: part.line,
      what: `key: ${key}`,
      reason: 'a list is not a queue here: the source reads its content once. Use a stream',
    })
    return undefined
  },
  websocket: (part, draft) => ({ websocket: given({ url: address(part.text('uri'), 'WEBSOCKET_URL', draft) }) }),
}

export const sinks: Readonly<Record<string, Make>> = {
  kafka: (part, draft, notes) => {
    const topic = part.text('topic') ?? ''
    const key = part.text('key_field')?.replace(/^\./, '')
    const compression = part.text('compression')
    if (key !== undefined) draft.sample.set(key.split('.'), 'key')
    return {
      kafka: given({
        ...kafkaOf(part, draft, notes),
        ...(isTemplate(topic, 'vector') ? { topic_from: fieldTopic(topic, draft) } : { topic: variablesIn(topic, draft) }),
        key,
        compression,
      }),
    }
  },
  console: () => ({ stdout: {} }),
  file: (part, draft) => {
    const path = part.text('path') ?? ''
    if (/%[A-Za-z]/.test(path)) throw new Untranslatable(`the times of ${path} have no translation; write {year}, {month}, {day} or {hour}`)
    part.take('idle_timeout_secs')
    return { file: { path: variablesIn(withFields(path, 'vector', ['{', '}']), draft) } }
  },
  http: (part, draft, notes) => {
    const method = (part.text('method') ?? 'post').toUpperCase()
    if (!['POST', 'PUT', 'PATCH'].includes(method)) throw new Untranslatable(`the sink sends POST, PUT and PATCH, not ${method}`)
    const auth = part.part('auth')
    const strategy = auth.text('strategy')
    const login =
      strategy === 'basic'
        ? { username: plain(auth.text('user'), draft), password: secret(auth, 'password', 'HTTP_PASSWORD', draft) }
        : strategy === 'bearer'
          ? { bearer: secret(auth, 'token', 'HTTP_TOKEN', draft) }
          : {}
    if (strategy !== undefined && Object.keys(login).length === 0)
      notes.push({ line: part.lineOf('auth'), what: `strategy: ${strategy}`, reason: 'has no translation: requests have no login' })
    const uri = part.text('uri') ?? ''
    if (part.text('compression') !== undefined && part.text('compression') !== 'none')
      notes.push({ line: part.lineOf('compression'), what: 'compression', reason: 'requests are not compressed' })
    // Vector sends a list of records in a request.
    return {
      http: given({
        url: hasSecret(uri) ? address(uri, 'HTTP_URL', draft) : variablesIn(withFields(uri, 'vector', ['{', '}']), draft),
        method: method === 'POST' ? undefined : method,
        batch: 'array',
        ...login,
      }),
    }
  },
  redis: (part, draft) => {
    const type = part.text('data_type') ?? 'list'
    const key = variablesIn(withFields(part.text('key') ?? '', 'vector', ['<', '>']), draft)
    const push = part.part('list').text('method') === 'lpush' ? 'left' : undefined
    return {
      redis: given({
        url: address(part.text('endpoint') ?? part.text('url'), 'REDIS_URL', draft),
        ...(type === 'channel' ? { channel: key } : { list: key, push }),
      }),
    }
  },
  postgres: (part, draft, notes) => {
    notes.push({ line: part.line, what: `table: ${part.text('table') ?? ''}`, reason: 'list the columns: Vector takes those of the table' })
    part.take('pool_size')
    return {
      postgres: given({
        dsn: address(part.text('endpoint'), 'PG_DSN_RW', draft),
        table: part.text('table'),
        columns: draft.sample.names(),
      }),
    }
  },
}

function fieldTopic(topic: string, draft: Draft): string {
  const field = fieldName(onlyPart(topic, 'vector'))
  draft.sample.set(field.split('.'), 'topic')
  return `field:${field}`
}
