import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Resolves when the broker at `port` lists itself in its metadata; rejects with the last reason after `timeoutMs`, or at once when `gone()` returns a reason. */
export async function brokerReady(port: number, timeoutMs: number, gone: () => string | undefined = () => undefined): Promise<void> {
  const deadline = Date.now() + timeoutMs
  let reason = 'no answer'
  while (Date.now() < deadline) {
    const dead = gone()
    if (dead !== undefined) throw new Error(dead)
    try {
      if ((await countBrokers(port)) > 0) return
      reason = 'it lists no broker yet'
    } catch (error) {
      reason = (error as Error).message
    }
    await sleep(50)
  }
  throw new Error(`Kafka at 127.0.0.1:${port} is not ready after ${timeoutMs} ms: ${reason}`)
}

/** Asks by a hand-made Metadata request (version 4, no topics), so that readiness doesn't depend on any client under test. */
function countBrokers(port: number): Promise<number> {
  const body = Buffer.from([0, 3, 0, 4, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0])
  const request = Buffer.concat([Buffer.alloc(4), body])
  request.writeInt32BE(body.length)
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port })
    let answer = Buffer.alloc(0)
    socket.setTimeout(2_000, () => socket.destroy(new Error('timed out')))
    socket.once('connect', () => socket.write(request))
    socket.on('data', chunk => {
      answer = Buffer.concat([answer, chunk])
      // size, correlation id, throttle time, then the number of brokers
      if (answer.length < 16) return
      resolve(answer.readInt32BE(12))
      socket.destroy()
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('connection closed')))
  })
}
