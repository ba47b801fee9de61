/** The requests under way: how many each broker has, and whether the brokers answer at all. */

/** Brokers remember the last five batches of a producer: with more under way they could not tell a repetition. */
export const REQUESTS_PER_BROKER = 5
const TROUBLE_MS = 2000
/** A broker that has not answered a request for this long is away. */
const SILENCE_MS = 5000

interface InFlightRequest {
  readonly leader: number
  /** `monotonic` ms. */
  readonly since: number
}

export class InFlightRequests {
  private readonly flights = new Set<InFlightRequest>()
  private readonly perBroker = new Map<number, number>()
  /** Since when requests fail, `monotonic` ms; 0: the last one was answered. */
  private troubleSince = 0

  get size(): number {
    return this.flights.size
  }

  full(leader: number): boolean {
    return (this.perBroker.get(leader) ?? 0) >= REQUESTS_PER_BROKER
  }

  /** Every flight is given back to `end`, whatever has become of it. */
  begin(leader: number, now: number): InFlightRequest {
    const flight = { leader, since: now }
    this.flights.add(flight)
    this.perBroker.set(leader, (this.perBroker.get(leader) ?? 0) + 1)
    return flight
  }

  end(flight: InFlightRequest): void {
    this.flights.delete(flight)
    this.perBroker.set(flight.leader, this.perBroker.get(flight.leader)! - 1)
  }

  answered(): void {
    this.troubleSince = 0
  }

  failed(now: number): void {
    if (this.troubleSince === 0) this.troubleSince = now
  }

  /** Requests have been failing, or one is unanswered, for longer than a leader election takes. */
  troubled(now: number): boolean {
    if (this.troubleSince > 0 && now - this.troubleSince > TROUBLE_MS) return true
    for (const { since } of this.flights) if (now - since > SILENCE_MS) return true
    return false
  }
}
