import type { MemorySinkConfig } from '../../generated/config-types.ts'
import { defineSink } from '../../contract/plugin.ts'
import { channel } from './channels.ts'
import schema from './sink.schema.json' with { type: 'json' }

export default defineSink<MemorySinkConfig>({
  type: 'memory',
  schema,
  onRedelivery: 'appends',
  reason: 'a record that is written again is a second record',
  readsValue: false,
  check: async ({ channel: name }) => [{ what: `channel ${name}`, ok: true, detail: 'lives in this process' }],

  create({ channel: name }) {
    const output = channel(name)
    return {
      async write(messages) {
        output.push(...messages.map(m => ({ payload: m.encode(), key: m.encodeKey(), time: m.time, headers: m.headers })))
      },
    }
  },
})
