import { EXIT } from '../../kit/exit-codes.ts'
import { connectLog } from '../../operations/connection.ts'
import { outcomeLine, print, printError, printJson } from '../output.ts'
import type { CreateFlags } from '../topics.ts'

/** @returns the exit code: an existing topic is an error, since its settings may differ. */
export async function createTopic(name: string, flags: CreateFlags): Promise<number> {
  const config = { ...flags.config, ...(flags.retentionMs === undefined ? {} : { 'retention.ms': String(flags.retentionMs) }) }
  const { driver, release } = await connectLog(flags.brokers)
  try {
    const found = (await driver.topics()).find(t => t.name === name)
    if (found) {
      printError(
        `topic ${name} exists already in ${driver.scope}, with ${found.partitions} partition(s); runner topics apply changes topics`,
      )
      return EXIT.verdict
    }
    await driver.createTopics([{ topic: name, partitions: flags.partitions, replication: flags.replication, config }])
    if (flags.json)
      printJson({ log: driver.scope, created: { name, partitions: flags.partitions, replication: flags.replication ?? null, config } })
    else
      print(
        outcomeLine(
          'ok',
          `created topic ${name} in ${driver.scope}: ${flags.partitions} partition(s)${Object.entries(config)
            .map(([k, v]) => `, ${k}=${v}`)
            .join('')}`,
        ),
      )
    return EXIT.ok
  } finally {
    await release()
  }
}
