import { expect, test } from 'vitest'
import { shareDrivers } from '../../src/kit/share-drivers.ts'

/** Opens drivers that record their calls. */
function place() {
  const events: string[] = []
  let count = 0
  const open = async () => {
    const name = ++count
    events.push(`open ${name}`)
    await new Promise(resolve => setImmediate(resolve))
    return {
      name,
      async close() {
        events.push(`closing ${name}`)
        await new Promise(resolve => setTimeout(resolve, 20))
        events.push(`closed ${name}`)
      },
    }
  }
  return { events, open, share: shareDrivers<Awaited<ReturnType<typeof open>>>() }
}

test('one driver per key is closed with its last handle; a handle counts once', async () => {
  const { events, open, share } = place()
  const [a, b, other] = await Promise.all([share('k', open), share('k', open), share('other', open)])
  expect(a.driver).toBe(b.driver)
  expect(other.driver).not.toBe(a.driver)
  await a.release()
  await a.release()
  expect(events).toEqual(['open 1', 'open 2'])
  await b.release()
  expect(events.slice(2)).toEqual(['closing 1', 'closed 1'])
})

test('a driver that is closing is reopened only after it is closed', async () => {
  const { events, open, share } = place()
  const first = await share('k', open)
  const released = first.release()
  const second = await share('k', open)
  await released
  expect(second.driver.name).toBe(2)
  expect(events).toEqual(['open 1', 'closing 1', 'closed 1', 'open 2'])
})

test('a user that joins during the last release gets an open driver', async () => {
  const { events, open, share } = place()
  const first = await share('k', open)
  const joining = share('k', open)
  await first.release()
  const second = await joining
  expect(second.driver).toBe(first.driver)
  expect(events).toEqual(['open 1'])
})

test('a failed attempt rejects all waiting users and is not cached', async () => {
  const { open, share } = place()
  const fail = () => Promise.reject(new Error('nobody there'))
  const results = await Promise.allSettled([share('k', fail), share('k', open)])
  expect(results.map(r => r.status)).toEqual(['rejected', 'rejected'])
  expect((await share('k', open)).driver.name).toBe(1)
})
