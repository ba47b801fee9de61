/** The counters of the connector. Children are cached: looking one up costs more than counting. */
import type { Counter, Metrics } from '../../contract/plugin.ts'

/** Above this number of combinations, label values are counted as `other`. */
const MAX_CHILDREN = 200

export class Meter {
  private readonly metrics: Metrics
  private readonly children = new Map<string, Counter>()

  constructor(metrics: Metrics) {
    this.metrics = metrics
  }

  published(topic: string, type: string, exchange: string): Counter {
    return this.child('kafka_messages_published_total', 'Records acknowledged by the brokers.', { topic, type, exchange })
  }
  deliveryErrors(topic: string): Counter {
    return this.child('kafka_delivery_errors_total', 'Records that were not acknowledged.', { topic })
  }
  /** Stays 0: the producer applies backpressure instead of dropping. */
  drops(topic: string): Counter {
    return this.child('kafka_producer_queue_drops_total', 'Records dropped because the producer queue was full.', { topic })
  }
  deadLetters(dlq_topic: string, source_topic: string, error_type: string): Counter {
    return this.child('kafka_dlq_published_total', 'Dead letters written.', { dlq_topic, source_topic, error_type })
  }
  rejectedDates(topic: string): Counter {
    return this.child('kafka_records_rejected_by_date_total', 'Records that their topic rejects because of their timestamp.', { topic })
  }
  expiredDates(topic: string): Counter {
    return this.child('kafka_records_past_retention_total', 'Records written with a timestamp older than the retention of their topic.', {
      topic,
    })
  }
  commits(topic: string): Counter {
    return this.child('kafka_consumer_commits_total', 'Offset commits.', { topic })
  }
  errors(topic: string): Counter {
    return this.child('kafka_consumer_errors_total', 'Errors of the consumer that it retries itself.', { topic })
  }

  private child(name: string, help: string, labels: Record<string, string>): Counter {
    const key = keyOf(name, labels)
    const known = this.children.get(key)
    if (known !== undefined) return known
    // A record may choose its topic: neither counters nor keys may grow with them.
    if (this.children.size >= MAX_CHILDREN && !isOther(labels))
      return this.child(name, help, Object.fromEntries(Object.keys(labels).map(label => [label, OTHER])))
    const counter = this.metrics.counter(name, help, labels)
    this.children.set(key, counter)
    return counter
  }
}

const OTHER = 'other'
const keyOf = (name: string, labels: Record<string, string>): string => `${name}\0${Object.values(labels).join('\0')}`
const isOther = (labels: Record<string, string>): boolean => Object.values(labels).every(value => value === OTHER)
