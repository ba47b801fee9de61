/** One fault of each kind, spread over the run. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Process } from './fleet.ts'
import type { LoadTestServers } from './servers.ts'

export class Faults {
  private readonly plan: { after: number; name: string; work: () => Promise<void> }[]
  private readonly say: (line: string) => void
  /** What has happened: from the kill until the killed one was started again, or the server back. */
  readonly happened: { readonly name: string; readonly from: number; to: number }[] = []
  private running: Promise<void> = Promise.resolve()
  private busy = false

  constructor(at: LoadTestServers, fleet: { publisher: Process; projector: Process }, operations: number, say: (line: string) => void) {
    const { kafka, postgres } = at
    this.say = say
    this.plan = [
      { after: 0.15, name: 'publisher: kill -9', work: async () => fleet.publisher.kill() },
      { after: 0.3, name: 'projector: kill -9', work: async () => fleet.projector.kill() },
      ...(kafka
        ? [
            {
              after: 0.5,
              name: 'broker: kill -9, back after 1 s',
              work: async () => {
                await kafka.kill()
                await sleep(1000)
                await kafka.restart()
              },
            },
          ]
        : []),
      ...(postgres
        ? [
            {
              after: 0.7,
              name: 'PostgreSQL: stop -m immediate, back after 1 s',
              work: async () => {
                await postgres.immediate()
                await sleep(1000)
                await postgres.start()
              },
            },
          ]
        : []),
    ].map(({ after, ...rest }) => ({ ...rest, after: Math.floor(after * operations) }))
    if (kafka === undefined || postgres === undefined) say('servers that are not our own are left alone')
  }

  /** So many operations are done. The next fault's operations wait until the one before is over: it is to hit a system at work. */
  async at(done: number): Promise<void> {
    while (this.plan.length > 0 && this.plan[0].after <= done) {
      if (this.busy) await this.running
      else this.start()
    }
  }

  private start(): void {
    const { name, work } = this.plan.shift()!
    this.busy = true
    this.say(`  fault: ${name}`)
    const fault = { name, from: Date.now(), to: Number.POSITIVE_INFINITY }
    this.happened.push(fault)
    this.running = work()
      .then(() => void (fault.to = Date.now()))
      .finally(() => (this.busy = false))
  }

  /** All have happened and what was killed is back. @throws what made one fail */
  async over(): Promise<void> {
    await this.running
  }
}
