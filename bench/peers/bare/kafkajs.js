/**
 * `kafkajs.js bars|map BROKERS INPUT OUTPUT GROUP`: what the bare client allows on this machine. No recovery, no checks, no
 * exact decimals, state only in memory: a ceiling, not a contender. Runs until it is stopped.
 */
import { Kafka, logLevel, Partitioners } from 'kafkajs'

const [what, brokers, input, output, group] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'bare', brokers: [brokers], logLevel: logLevel.ERROR })
const consumer = kafka.consumer({ groupId: group, maxBytesPerPartition: 8_388_608, maxWaitTimeInMs: 100 })
const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, createPartitioner: Partitioners.DefaultPartitioner })
await Promise.all([consumer.connect(), producer.connect()])
await consumer.subscribe({ topics: [input], fromBeginning: true })
const work = what === 'bars' ? bars() : map
await consumer.run({
  autoCommitInterval: 100,
  eachBatchAutoResolve: true,
  eachBatch: async ({ batch }) => {
    const messages = work(batch.messages)
    for (let at = 0; at < messages.length; at += 1000) {
      await producer.send({ topic: output, messages: messages.slice(at, at + 1000) })
    }
  },
})
process.once('SIGTERM', () => process.exit(0))

function map(messages) {
  return messages.map(({ key, value }) => {
    const { symbol, price, volume, ts } = JSON.parse(value.toString())
    return { key, value: JSON.stringify({ symbol, price, size: volume, value: price * volume, time: ts }) }
  })
}

function bars() {
  let bar
  return messages => {
    const out = []
    for (const message of messages) {
      const { symbol, price, volume, ts } = JSON.parse(message.value.toString())
      const start = ts - (ts % 60_000)
      if (bar === undefined || start > bar.start) {
        if (bar !== undefined) out.push({ key: bar.symbol, value: JSON.stringify(bar) })
        bar = { symbol, interval: '1m', start, end: start + 60_000, open: price, high: price, low: price, close: price, volume: 0, vwap: 0, count: 0 }
      }
      if (price > bar.high) bar.high = price
      if (price < bar.low) bar.low = price
      bar.close = price
      bar.vwap = (bar.vwap * bar.volume + price * volume) / (bar.volume + volume)
      bar.volume += volume
      bar.count++
    }
    return out
  }
}
