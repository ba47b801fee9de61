import type { MemorySinkConfig } from '../../generated/config-types.ts'
import { defineSink } from '../../contract/plugin.ts'
import { channel, type Given } from './channel.ts'
import schema from './sink.schema.json' with { type: 'json' }

export default defineSink<MemorySinkConfig & Given>({
  type: 'memory',
  schema,
  onRedelivery: 'appends',
  reason: 'a repeated write adds a second record',
  readsValue: false,
  check: async ({ channel: name }) => [{ what: `channel ${name}`, ok: true, detail: 'in this process' }],

  create({ channel: name, given }) {
    const output = given ?? channel(name)
    return {
      write: (messages, { signal }) =>
        output.write(
          messages.map(m => ({ payload: m.encode(), key: m.encodeKey(), time: m.time, headers: m.headers })),
          signal,
        ),
    }
  },
})
