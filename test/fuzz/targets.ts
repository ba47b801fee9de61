/** The targets by name, each loaded on demand. */
import type { Target } from './target.ts'

export const targets: Readonly<Record<string, () => Promise<Target>>> = {
  'kafka-batch': async () => (await import('./targets/kafka-batch.ts')).target,
  'kafka-response': async () => (await import('./targets/kafka-response.ts')).target,
  compression: async () => (await import('./targets/compression.ts')).target,
  'log-page': async () => (await import('./targets/log-page.ts')).target,
  resp: async () => (await import('./targets/resp.ts')).target,
  envelope: async () => (await import('./targets/envelope.ts')).target,
  csv: async () => (await import('./targets/csv.ts')).target,
  json: async () => (await import('./targets/json.ts')).target,
  websocket: async () => (await import('./targets/websocket.ts')).target,
  cel: async () => (await import('./targets/cel.ts')).target,
  yaml: async () => (await import('./targets/yaml.ts')).target,
}
