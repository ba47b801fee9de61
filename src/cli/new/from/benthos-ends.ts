/** Inputs and outputs of Benthos. */
import { type Config, address, duration, given, hasSecret, kafkaSecurity, secret, setting } from './connection.ts'
import { type Draft, variablesIn } from './draft.ts'
import type { Note, Part } from './foreign.ts'
import { bloblang, condition } from './mapping.ts'
import { render } from './render.ts'
import { fieldName, isTemplate, onlyPart, withFields } from './template.ts'
import { Untranslatable } from './tree.ts'

type Make = (part: Part, draft: Draft, notes: Note[]) => Config | undefined

/** A part of a setting without a translation becomes a note, and the setting is left out. */
function tried<T>(part: Part, key: string, notes: Note[], make: () => T): T | undefined {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof Untranslatable)) throw error
    const value = part.text(key) ?? ''
    notes.push({ line: part.lineOf(key), what: `${key}: ${hasSecret(value) ? '…' : value}`, reason: error.message })
    return undefined
  }
}

const plain = (part: Part, key: string, draft: Draft): string | undefined => {
  const value = part.text(key)
  return value === undefined || value === '' ? undefined : (variablesIn(value, draft) as string)
}
const texts = (part: Part, draft: Draft, ...keys: string[]): string[] =>
  keys.flatMap(key => part.texts(key)).map(t => variablesIn(t, draft) as string)

function kafkaOf(part: Part, draft: Draft, notes: Note[]): Config {
  const brokers = [...part.texts('addresses'), ...part.texts('seed_brokers')].join(',')
  const [sasl, ...others] = part.parts('sasl')
  for (const other of others) notes.push({ line: other.line, what: 'sasl: …', reason: 'a connection has one login' })
  const login = sasl ?? (part.has('sasl') ? part.part('sasl') : undefined)
  const config = {
    brokers: setting(brokers, 'KAFKA_BROKERS', draft),
    client_id: plain(part, 'client_id', draft),
    ...kafkaSecurity(
      part.part('tls'),
      login,
      sasl
        ? { mechanism: 'mechanism', user: 'username', password: 'password' }
        : { mechanism: 'mechanism', user: 'user', password: 'password' },
      draft,
      notes,
    ),
  }
  return config.client_id === 'benthos' || config.client_id === 'redpanda-connect' ? { ...config, client_id: undefined } : config
}

const kafkaIn: Make = (part, draft, notes) => {
  const topics = texts(part, draft, 'topics')
  if (topics.some(t => /:\d/.test(t))) {
    notes.push({
      line: part.lineOf('topics'),
      what: `topics: ${topics.join(', ')}`,
      reason: 'partitions cannot be chosen: the group shares them',
    })
  }
  if (part.take('regexp_topics') === true)
    notes.push({ line: part.lineOf('regexp_topics'), what: 'regexp_topics: true', reason: 'topics are names: list them' })
  const oldest = part.take('start_from_oldest')
  const start = part.text('start_offset')
  for (const key of [
    'checkpoint_limit',
    'commit_period',
    'auto_replay_nacks',
    'max_processing_period',
    'fetch_buffer_cap',
    'target_version',
    'group',
  ])
    part.take(key)
  return {
    kafka: given({
      ...kafkaOf(part, draft, notes),
      topics: topics.map(t => t.replace(/:[\d-]+$/, '')),
      group: plain(part, 'consumer_group', draft),
      start_at: oldest === false || start === 'latest' || start === 'committed' ? 'latest' : undefined,
    }),
  }
}

const kafkaOut: Make = (part, draft, notes) => {
  const topic = part.text('topic') ?? ''
  const compression = part.text('compression')
  const acks = part.take('ack_replicas')
  const key = part.text('key')
  part.take('idempotent_write')
  const target = isTemplate(topic, 'benthos')
    ? tried(part, 'topic', notes, () => {
        const tree = onlyPart(topic, 'benthos')
        return {
          topic_from:
            tree.kind === 'meta' && tree.name === 'kafka_topic'
              ? 'source'
              : tree.kind === 'meta'
                ? `header:${tree.name}`
                : `field:${fieldName(tree)}`,
        }
      })
    : { topic: variablesIn(topic, draft) }
  if (!target) return undefined
  return {
    kafka: given({
      ...kafkaOf(part, draft, notes),
      ...target,
      key:
        key === undefined || key === ''
          ? undefined
          : tried(part, 'key', notes, () => {
              if (!isTemplate(key, 'benthos')) throw new Untranslatable('a constant key has no translation; write a step rekey')
              const name = fieldName(onlyPart(key, 'benthos'))
              if (name === '@key') return undefined
              draft.sample.set(name.split('.'), 'key')
              return name
            }),
      compression: compression && ['none', 'gzip', 'snappy', 'lz4', 'zstd'].includes(compression) ? compression : undefined,
      acks: acks === true ? 'all' : undefined,
    }),
  }
}

/** @returns the columns of `args_mapping: root = [ this.id ]` in their order, as expressions */
function argsOf(part: Part, columns: readonly string[], draft: Draft, notes: Note[]): Config | undefined {
  const text = part.text('args_mapping')
  if (text === undefined) return undefined
  return tried(part, 'args_mapping', notes, () => {
    const { tree } = condition(text.trim().replace(/^root\s*=/, ''), 'bloblang')
    if (tree.kind !== 'list') throw new Untranslatable('only a list has a translation')
    draft.sample.condition(tree)
    const each = tree.items.map(render)
    if (each.length !== columns.length) throw new Untranslatable(`it has ${each.length} values for ${columns.length} columns`)
    return Object.fromEntries(columns.map((column, i) => [column, each[i]]))
  })
}

const isPostgres = (part: Part, notes: Note[]): boolean => {
  const driver = part.text('driver') ?? 'postgres'
  if (/postgres/.test(driver)) return true
  notes.push({ line: part.lineOf('driver'), what: `driver: ${driver}`, reason: 'only PostgreSQL has a translation' })
  return false
}

/** `set a = excluded.a, …` for exactly these columns. */
function setsAll(text: string, columns: readonly string[]): boolean {
  const set = text
    .replace(/^\s*set\b/i, '')
    .split(',')
    .map(part => /^\s*"?(\w+)"?\s*=\s*excluded\."?\1"?\s*$/i.exec(part)?.[1])
  return set.length === columns.length && columns.every(c => set.includes(c))
}

const dsnOf = (part: Part, draft: Draft): string | undefined => address(part.text('dsn'), 'PG_DSN_RW', draft)

/** Notes what is not read or written line by line. */
function lines(part: Part, notes: Note[], reason: string): void {
  const codec = part.text('codec')
  const scanner = part.part('scanner')
  scanner.take('lines')
  if (codec !== undefined && codec !== 'lines') notes.push({ line: part.lineOf('codec'), what: `codec: ${codec}`, reason })
  for (const note of scanner.rest()) notes.push({ ...note, reason })
}

const fileIn: Make = (part, draft, notes) => {
  const paths = texts(part, draft, 'paths', 'path')
  const isCsv = part.part('scanner').has('csv')
  if (!isCsv) lines(part, notes, 'a file is read line by line')
  for (const path of paths.slice(1))
    notes.push({ line: part.lineOf('paths'), what: path, reason: 'a source reads one path or pattern: add a source per path' })
  return {
    file: given({
      path: paths[0],
      format: isCsv ? 'csv' : /\.(jsonl?|ndjson|csv)(\.gz|\.zst)?$/.test(paths[0] ?? '') ? undefined : 'jsonl',
    }),
  }
}

export const inputs: Readonly<Record<string, Make>> = {
  kafka: kafkaIn,
  kafka_franz: kafkaIn,
  redpanda: kafkaIn,
  file: fileIn,
  csv: (part, draft, notes) => {
    const made = fileIn(part, draft, notes)
    if (part.take('parse_header_row') === false)
      notes.push({
        line: part.lineOf('parse_header_row'),
        what: 'parse_header_row: false',
        reason: 'the first line has the names of the columns',
      })
    return { file: { ...(made!.file as Config), format: 'csv' } }
  },
  stdin: (part, _draft, notes) => {
    lines(part, notes, 'standard input is read line by line')
    return { stdin: {} }
  },
  generate: (part, draft, notes) => {
    const every = part.text('interval')
    const interval = duration(every) ?? '1s'
    if (every !== undefined && duration(every) === undefined)
      notes.push({ line: part.lineOf('interval'), what: `interval: ${every}`, reason: 'only a duration has a translation; this is 1s' })
    const count = part.take('count')
    const text = part.text('mapping') ?? 'root = {}'
    const mapped = bloblang(text, false)
    const fields: Config = {}
    for (const left of mapped.left) notes.push({ line: part.textLine('mapping') + left.line, what: left.text, reason: left.reason })
    const map = mapped.steps.find(s => s.map)?.map as { fields?: Record<string, string> } | undefined
    for (const [name, expression] of Object.entries(map?.fields ?? {})) {
      let value: unknown
      try {
        value = JSON.parse(expression)
      } catch {
        notes.push({
          line: part.textLine('mapping'),
          what: `${name} = …`,
          reason: 'a generated field is a constant here; see random, choice and sequence of the generate source',
        })
        continue
      }
      fields[name] = { value }
    }
    const ms =
      Number(/^(\d+)/.exec(interval)![1]) *
      ({ ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as Record<string, number>)[/\D+$/.exec(interval)![0]]
    return {
      generate: given({
        fields: Object.keys(fields).length > 0 ? fields : { id: { sequence: 1 } },
        rate: ms > 0 ? Math.max(0.001, Number((1000 / ms).toFixed(3))) : undefined,
        count: typeof count === 'number' && count > 0 ? count : undefined,
      }),
    }
  },
  http_server: (part, _draft, notes) => {
    const at = /^(.*):(\d+)$/.exec(part.text('address') ?? '0.0.0.0:4195')
    const methods = part.texts('allowed_verbs').filter(m => m !== 'POST')
    part.take('timeout')
    notes.push({
      line: part.line,
      what: `address: ${at?.[1] ?? ''}`,
      reason: 'it listens on 127.0.0.1; for other addresses, set host and auth',
    })
    return {
      http: given({
        port: Number(at?.[2] ?? 4195),
        path: part.text('path') ?? '/post',
        methods: methods.length > 0 ? ['POST', ...methods] : undefined,
      }),
    }
  },
  redis_streams: (part, draft) => ({
    redis: given({
      url: address(part.text('url'), 'REDIS_URL', draft),
      streams: texts(part, draft, 'streams'),
      group: plain(part, 'consumer_group', draft),
      consumer: plain(part, 'client_id', draft),
      field: part.text('body_key') ?? 'body',
      start_at: part.take('start_from_oldest') === false ? 'latest' : undefined,
    }),
  }),
  redis_pubsub: (part, draft) => {
    part.take('use_patterns')
    return { redis: given({ url: address(part.text('url'), 'REDIS_URL', draft), patterns: texts(part, draft, 'channels') }) }
  },
  sql_select: (part, draft, notes) => {
    if (!isPostgres(part, notes)) return undefined
    const columns = part.texts('columns')
    const where = part.text('where')
    if (part.has('args_mapping'))
      notes.push({
        line: part.lineOf('args_mapping'),
        what: 'args_mapping: …',
        reason: 'the query has no parameters; write the values into it',
      })
    part.take('args_mapping')
    const table = plain(part, 'table', draft)
    const all = columns.length === 0 || columns.includes('*')
    const cursor = all ? 'id' : columns[0]
    notes.push({
      line: part.line,
      what: 'sql_select',
      reason: `the source needs a cursor, a column that orders the rows: ${cursor} is a guess`,
    })
    return {
      postgres: given({
        dsn: dsnOf(part, draft),
        ...(all && where === undefined
          ? { table }
          : { query: `select ${all ? '*' : columns.join(', ')} from ${table}${where === undefined ? '' : ` where ${where}`}` }),
        cursor,
      }),
    }
  },
  websocket: (part, draft, notes) => {
    const open = part.text('open_message')
    const isSecret = open !== undefined && /(?:pass|pwd|secret|token|key|auth|sig)\w*["']?\s*[:=]\s*["']?[^"'\s$]/i.test(open)
    if (isSecret)
      notes.push({ line: part.lineOf('open_message'), what: 'open_message: …', reason: 'a secret belongs into a variable: see subscribe' })
    return {
      websocket: given({
        url: address(part.text('url'), 'WEBSOCKET_URL', draft),
        subscribe: open === undefined || isSecret ? undefined : [variablesIn(open, draft)],
      }),
    }
  },
}

export const outputs: Readonly<Record<string, Make>> = {
  kafka: kafkaOut,
  kafka_franz: kafkaOut,
  redpanda: kafkaOut,
  file: (part, draft, notes) => {
    const path = part.text('path') ?? 'out.jsonl'
    const codec = part.text('codec')
    if (codec !== undefined && codec !== 'lines')
      notes.push({ line: part.lineOf('codec'), what: `codec: ${codec}`, reason: 'a file sink appends a line per record' })
    return tried(part, 'path', notes, () => ({ file: { path: variablesIn(withFields(path, 'benthos', ['{', '}']), draft) } }))
  },
  stdout: (part, _draft, notes) => {
    lines(part, notes, 'the sink writes a line per record')
    return { stdout: {} }
  },
  http_client: (part, draft, notes) => {
    const url = part.text('url') ?? ''
    const verb = part.text('verb') ?? 'POST'
    const headers = Object.fromEntries(
      part
        .part('headers')
        .keys()
        .flatMap(name => {
          const value = String((part.part('headers').value as Config)[name])
          if (/^content-type$/i.test(name)) return []
          if (!isTemplate(value, 'benthos') && !/auth|key|token|secret/i.test(name)) return [[name, variablesIn(value, draft)]]
          notes.push({
            line: part.lineOf('headers'),
            what: `${name}: …`,
            reason: 'a header is a constant, and a secret belongs into a variable',
          })
          return []
        }),
    )
    const basic = part.part('basic_auth')
    const isOn = basic.take('enabled') === true
    for (const key of ['retry_period', 'max_retry_backoff', 'retries', 'batch_as_multipart']) part.take(key)
    const timeout = part.text('timeout')
    if (timeout !== undefined && duration(timeout) === undefined)
      notes.push({ line: part.lineOf('timeout'), what: `timeout: ${timeout}`, reason: 'only a duration has a translation' })
    if (!['POST', 'PUT', 'PATCH'].includes(verb)) {
      notes.push({ line: part.lineOf('verb'), what: `verb: ${verb}`, reason: 'the sink sends POST, PUT and PATCH' })
      return undefined
    }
    return tried(part, 'url', notes, () => ({
      http: given({
        url: hasSecret(url) ? address(url, 'HTTP_URL', draft) : variablesIn(withFields(url, 'benthos', ['{', '}']), draft),
        method: verb === 'POST' ? undefined : verb,
        headers: Object.keys(headers).length > 0 ? headers : undefined,
        username: isOn ? plain(basic, 'username', draft) : undefined,
        password: isOn ? secret(basic, 'password', 'HTTP_PASSWORD', draft) : undefined,
        timeout: duration(timeout),
      }),
    }))
  },
  redis_streams: (part, draft, notes) =>
    tried(part, 'stream', notes, () => ({
      redis: given({
        url: address(part.text('url'), 'REDIS_URL', draft),
        stream: variablesIn(withFields(part.text('stream') ?? '', 'benthos', ['<', '>']), draft),
        value_field: part.text('body_key') ?? 'body',
        max_length: Number(part.text('max_length') ?? 0) || undefined,
      }),
    })),
  redis_pubsub: (part, draft, notes) =>
    tried(part, 'channel', notes, () => ({
      redis: given({
        url: address(part.text('url'), 'REDIS_URL', draft),
        channel: variablesIn(withFields(part.text('channel') ?? '', 'benthos', ['<', '>']), draft),
      }),
    })),
  redis_list: (part, draft, notes) =>
    tried(part, 'key', notes, () => ({
      redis: given({
        url: address(part.text('url'), 'REDIS_URL', draft),
        list: variablesIn(withFields(part.text('key') ?? '', 'benthos', ['<', '>']), draft),
      }),
    })),
  sql_insert: (part, draft, notes) => {
    if (!isPostgres(part, notes)) return undefined
    const columns = part.texts('columns')
    const suffix = part.text('suffix')
    const conflict = /on\s+conflict\s*\(([^)]*)\)\s*do\s+(nothing|update)(.*)/is.exec(suffix ?? '')
    const key = conflict?.[1].split(',').map(c => c.trim()) ?? []
    if (suffix !== undefined && !conflict)
      notes.push({ line: part.lineOf('suffix'), what: `suffix: ${suffix}`, reason: 'has no translation; see statements of the sink' })
    if (
      conflict &&
      conflict[3].trim() !== '' &&
      !setsAll(
        conflict[3],
        columns.filter(c => !key.includes(c)),
      )
    )
      notes.push({ line: part.lineOf('suffix'), what: `suffix: ${suffix}`, reason: 'an existing row gets the new values of all columns' })
    return {
      postgres: given({
        dsn: dsnOf(part, draft),
        table: plain(part, 'table', draft),
        columns: argsOf(part, columns, draft, notes) ?? columns,
        key: conflict ? key : undefined,
        on_conflict: conflict?.[2].toLowerCase() === 'nothing' ? 'nothing' : undefined,
      }),
    }
  },
}
