/** Connects a command to the log, with the environment variables of the kafka plugins or `--brokers`. */
import type { Logger } from '../contract/plugin.ts'
import { PipelineError } from '../contract/plugin.ts'
import { validateConnection, connect, type ConnectionConfig, connectionKeys, type KafkaHandle } from '../connectors/kafka/connect.ts'
import { convert } from '../config/convert.ts'
import type { Env } from '../config/env.ts'
import { fill, fromJson } from '../config/fill.ts'
import { diagnose } from '../config/diagnose.ts'
import { Problems } from '../config/problems.ts'
import type { Schema } from '../config/schema.ts'
import { formatPath, SourceText } from '../config/tree.ts'

/** The connection settings are wrong: exit code 2. */
class SettingsError extends PipelineError {
  constructor(message: string) {
    super('PIPE_SETTINGS', message)
  }
}

/** @throws {SettingsError} with every wrong setting and its variable. */
export async function connectionSettings(brokers: string | undefined, env: Env = process.env): Promise<ConnectionConfig> {
  const own = connectionKeys as unknown as Schema
  const problems = new Problems()
  const at = { source: new SourceText('environment', ''), start: 0, end: 0 }
  const node = fromJson(brokers === undefined ? {} : { brokers }, at)
  const filled = fill(node, own, [], { root: own, env, base: process.cwd(), problems, at, unresolved: new Set(), lenient: false })
  const origin = (key: string | number | undefined): string => {
    const variable = /\$\{(\w+)/.exec(String(own.properties?.[String(key)]?.default ?? ''))?.[1]
    return key === 'brokers' && brokers !== undefined ? '--brokers' : (variable ?? String(key))
  }
  const lines = problems.list().map(p => p.message)
  for (const j of await diagnose(filled, own)) lines.push(line(origin(j.path[0]), `${formatPath(j.path)} ${j.message}`, j.suggestion))
  const config = convert(filled, own, own).value as ConnectionConfig
  if (lines.length === 0)
    for (const p of validateConnection(config)) lines.push(line(origin(p.path[0]), `${formatPath(p.path)} ${p.message}`, p.suggestion))
  if (lines.length > 0) throw new SettingsError(lines.join('\n'))
  return config
}

const line = (origin: string, message: string, suggestion: string | undefined): string =>
  `${origin}: ${message}${suggestion === undefined ? '' : `; did you mean ${suggestion}?`}`

const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** @throws {SettingsError} for wrong settings, {EnvironmentError} or {ConnectionError} if the log cannot be used. */
export async function connectLog(
  brokers: string | undefined,
  env: Env = process.env,
): Promise<KafkaHandle & { readonly config: ConnectionConfig }> {
  const config = await connectionSettings(brokers, env)
  return { ...(await connect(config, silent)), config }
}
