import { EXIT } from '../../kit/exit-codes.ts'
import type { Column } from '../../kit/text/columns.ts'
import { connectLog } from '../../operations/connection.ts'
import { formatDuration } from '../../operations/format.ts'
import { print, printJson } from '../output.ts'
import { table } from '../table.ts'
import type { ConnectionFlags } from '../topics.ts'

const COLUMNS: readonly Column[] = [
  { head: 'TOPIC' },
  { head: 'PARTITIONS', kind: 'count' },
  { head: 'REPLICATION', kind: 'count' },
  { head: 'RETENTION' },
]

/** @returns the exit code. */
export async function listTopics(flags: ConnectionFlags): Promise<number> {
  const { driver, release } = await connectLog(flags.brokers)
  try {
    const topics = await driver.topics()
    const configs = await driver.admin.configs(topics.map(t => t.name))
    const settings = (name: string) => configs.get(name) ?? new Map<string, never>()
    if (flags.json) {
      const list = topics.map(t => ({
        ...t,
        config: Object.fromEntries([...settings(t.name)].filter(([, s]) => s.own).map(([key, s]) => [key, s.value])),
        retention_ms: Number(settings(t.name).get('retention.ms')?.value ?? -1),
      }))
      printJson({ log: driver.scope, topics: list })
      return EXIT.ok
    }
    const rows = topics.map(t => {
      const own = settings(t.name)
      const policy = own.get('cleanup.policy')?.value ?? 'delete'
      return [
        t.name,
        t.partitions,
        t.replication,
        policy === 'compact' ? 'compacted' : formatDuration(Number(own.get('retention.ms')?.value ?? -1)),
      ]
    })
    print(rows.length > 0 ? table(COLUMNS, rows) : `no topics in ${driver.scope}\n`)
    return EXIT.ok
  } finally {
    await release()
  }
}
