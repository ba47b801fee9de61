/**
 * Prints a topic of an embedded log as JSON lines, in a process of its own: the second opinion that kcat is for Kafka.
 * `node read-embedded.ts FILE TOPIC`
 */
import { embeddedDriver } from '../../../src/connectors/kafka/embedded/driver.ts'

const [path, topic] = process.argv.slice(2)
const driver = embeddedDriver({ path })
const info = (await driver.topics()).find(t => t.name === topic)
if (!info) throw new Error(`no topic ${topic} in ${path}: ${(await driver.topics()).map(t => t.name).join(', ')}`)
for (let partition = 0; partition < info.partitions; partition++) {
  for (let offset = 0; ; ) {
    const batch = await driver.read({ topic, partition }, offset, { format: 'bytes', isolation: 'read_committed' })
    const lines = batch.messages.map(m =>
      JSON.stringify({
        partition,
        offset: m.offset,
        time: m.time,
        key: m.keyBytes?.toString('base64') ?? null,
        value: m.payload?.toString('base64') ?? null,
        headers: (m.headers ?? []).map(([name, value]) => [name, value?.toString() ?? '']),
      }),
    )
    if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`)
    if (batch.nextOffset <= offset) break
    offset = batch.nextOffset
  }
}
await driver.close()
