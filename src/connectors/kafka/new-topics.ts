/** Topics that the sink creates: its own at the start, those that messages name at their first message. */
import type { KafkaSinkConfig } from '../../generated/config-types.ts'
import type { Logger } from '../../contract/plugin.ts'
import { isEmbedded } from './connect.ts'
import type { Driver, OutRecord } from './driver.ts'
import { validTopic } from './topic-name.ts'

/** Above this number, names are looked up again. */
const MAX_KNOWN = 20_000

export class NewTopics {
  private readonly config: KafkaSinkConfig
  private readonly log: Logger
  private readonly known = new Map<string, Promise<void>>()

  constructor(config: KafkaSinkConfig, log: Logger) {
    this.config = config
    this.log = log
  }

  /** The topic of the config. @returns whether it existed. */
  async own(driver: Driver, topic: string): Promise<boolean> {
    if ((await driver.topics()).some(t => t.name === topic)) return true
    if (this.config.create_topics || isEmbedded(this.config.brokers)) await this.create(driver, topic)
    // The broker may be configured to create it on first use; the producer finds out.
    else this.log.debug({ topic }, 'topic does not exist yet')
    return false
  }

  /** Topics that messages name. Invalid topic names are left to the producer, which rejects their records. */
  async named(driver: Driver, records: readonly OutRecord[]): Promise<void> {
    if (!this.config.create_topics) return
    const names = new Set(records.map(r => r.topic))
    const unseen = [...names].filter(name => !this.known.has(name) && validTopic(name))
    if (unseen.length > 0) this.look(driver, unseen)
    // Another batch may be about to create some of them.
    for (const name of names) await this.known.get(name)
  }

  private look(driver: Driver, unseen: readonly string[]): void {
    if (this.known.size + unseen.length > MAX_KNOWN) this.known.clear()
    const exist = driver.topics().then(topics => new Set(topics.map(t => t.name)))
    let before: Promise<unknown> = exist
    for (const topic of unseen) {
      // One after the other: the controller of the brokers does so anyway.
      const made = before.then(async () => {
        if (!(await exist).has(topic)) await this.create(driver, topic)
      })
      made.catch(() => this.known.delete(topic))
      this.known.set(topic, made)
      before = made
    }
  }

  private async create(driver: Driver, topic: string): Promise<void> {
    const { partitions, replication } = this.config
    await driver.createTopics([{ topic, partitions, replication: replication < 1 ? undefined : replication }])
  }
}
