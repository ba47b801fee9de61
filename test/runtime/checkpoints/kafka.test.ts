/** The checkpoint topic of a real broker passes the checkpoint conformance suite. */
import { checkpointConformance } from '../../conformance/checkpoint.ts'
import { laneOf, newTopic, producerOptions, unique } from '../../conformance/driver-lib.ts'
import { makeDriver } from '../../connectors/kafka/make.ts'
import { brokers } from '../../support/brokers.ts'

const options = { brokers: brokers() }

checkpointConformance('kafkajs', async () => {
  const driver = makeDriver(options)
  const topic = await newTopic(driver, 4)
  await driver.close()
  // The broker is shared with other runs.
  const prefix = unique('p')
  return {
    open(id) {
      const own = makeDriver(options)
      const transactor = own.transactor({ id: `${prefix}-${id}`, producer: producerOptions })
      return {
        claim: lane => transactor.claim(lane),
        save: (lane, delta) => transactor.save(lane, delta),
        release: lane => transactor.release(lane),
        list: async () => (await transactor.list!()).map(l => ({ ...l, owner: l.owner.slice(prefix.length + 1) })),
        remove: owner => transactor.remove!(`${prefix}-${owner}`),
        close: () => own.close(),
      }
    },
    lane: n => laneOf(topic, n, prefix),
    owner: id => id,
  }
})
