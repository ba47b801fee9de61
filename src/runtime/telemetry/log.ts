/** Logs to stderr: JSON lines, or readable lines on a terminal. Secrets are redacted. */
import { redact } from '../../kit/text/secrets.ts'
import type { LogFn, Logger as PinoLogger } from 'pino'
import type { Logger } from '../../contract/plugin.ts'

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly pretty: boolean
  /** Color in pretty lines. Default: false. */
  readonly color?: boolean
  /** Times of pretty lines in UTC. Default: the local time zone. */
  readonly utc?: boolean
  /** Called before each line that is written. */
  readonly before?: () => void
}

/**
 * Escapes control characters that JSON leaves unescaped. In pretty lines, JSON escapes stay escaped, so control characters of a record do
 * not reach the terminal.
 */
function harmless(line: string, pretty: boolean): string {
  const escaped = line.replaceAll(
    /[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return pretty ? escaped.replaceAll(CONTROL, '$1\\\\$2') : escaped
}

/** A JSON escape that is not preceded by an escaping backslash. */
const CONTROL = /(?<!\\)((?:\\\\)*)\\(u00[0189][0-9a-f]|u007f|u20[0-6][0-9a-f]|[bfr])/g

export async function createLogger(
  { level, pretty, color = false, utc = false, before }: LogOptions,
  bindings: Record<string, unknown> = {},
): Promise<Logger> {
  const { pino } = await import('pino')
  const base = {
    level,
    base: bindings,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    hooks: {
      streamWrite: (line: string) => harmless(redact(line), pretty),
      ...(before && {
        logMethod(this: PinoLogger, args: Parameters<LogFn>, method: LogFn) {
          before()
          method.apply(this, args)
        },
      }),
    },
  }
  if (!pretty) return pino(base, pino.destination({ dest: 2, sync: true })) as unknown as Logger
  const { default: pinoPretty } = await import('pino-pretty')
  const stream = pinoPretty({
    destination: 2,
    sync: true,
    ignore: 'pid,hostname',
    translateTime: utc ? "UTC:HH:MM:ss'Z'" : 'SYS:HH:MM:ssp',
    colorize: color,
  })
  return pino(base, stream) as unknown as Logger
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }
