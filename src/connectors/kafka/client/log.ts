/** kafkajs' log lines go to our debug level: relevant problems reach the user once, as our errors. */
import type { Logger } from '../../../contract/plugin.ts'

interface KafkaJsLogEntry {
  readonly namespace: string
  readonly level: number
  readonly log: { message: string; [key: string]: unknown }
}

/** kafkajs levels: 1 error, 2 warn, 4 info, 5 debug (one line per request: dropped). */
export function quietLogger(log: Logger): (entry: KafkaJsLogEntry) => void {
  return ({ namespace, level, log: { message, broker, error } }) => {
    if (level >= 4) return
    log.debug({ kafkajs: namespace, ...(broker ? { broker } : {}), ...(typeof error === 'string' ? { error } : {}) }, message)
  }
}
