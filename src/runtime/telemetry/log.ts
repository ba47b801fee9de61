/** Logs: JSON lines on stderr, pretty on a terminal; batches are logged, never records. */
import { redact } from '../../kit/text/secrets.ts'
import type { LogFn, Logger as PinoLogger } from 'pino'
import type { Logger } from '../../contract/plugin.ts'

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly pretty: boolean
  /** Called before each line that is written. */
  readonly before?: () => void
}

export async function createLogger({ level, pretty, before }: LogOptions, bindings: Record<string, unknown> = {}): Promise<Logger> {
  const { pino } = await import('pino')
  const base = {
    level,
    base: bindings,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    hooks: {
      streamWrite: redact,
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
    translateTime: 'SYS:HH:MM:ss',
    colorize: process.stderr.hasColors?.() ?? false,
  })
  return pino(base, stream) as unknown as Logger
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }
