/** What the workers ask for, and what must come of it: money in hundredths, exact. */

export interface Operation {
  readonly key: string
  readonly body: string
  /** What each wallet gains or loses. */
  readonly effects: readonly (readonly [wallet: string, hundredths: bigint])[]
}

/** Every wallet's first operation: more than all later ones can take. */
const START = 1_000_000_00n

/** The same seed, the same operations. */
export function* operations(prefix: string, wallets: number, count: number, seed = 1): Generator<Operation> {
  let state = seed
  const random = (below: number): number => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below)
  }
  const name = (n: number): string => `${prefix}-${n}`
  for (let i = 0; i < count; i++) {
    const key = `${prefix}-${i}`
    if (i < wallets) {
      yield make(key, { operation: 'deposit', walletId: name(i), amount: money(START) }, [[name(i), START]])
      continue
    }
    const from = name(random(wallets))
    const hundredths = BigInt(1 + random(50_000))
    const amount = money(hundredths)
    const kind = wallets > 1 ? random(3) : random(2)
    if (kind === 0) yield make(key, { operation: 'deposit', walletId: from, amount }, [[from, hundredths]])
    else if (kind === 1) yield make(key, { operation: 'withdraw', walletId: from, amount }, [[from, -hundredths]])
    else {
      let to = name(random(wallets))
      if (to === from) to = name((Number(from.slice(prefix.length + 1)) + 1) % wallets)
      const effects = [
        [from, -hundredths],
        [to, hundredths],
      ] as const
      yield make(key, { operation: 'transfer', walletId: from, toWalletId: to, amount }, effects)
    }
  }
}

const make = (key: string, command: object, effects: Operation['effects']): Operation => ({ key, body: JSON.stringify(command), effects })

export const money = (hundredths: bigint): string => {
  const sign = hundredths < 0n ? '-' : ''
  const digits = String(hundredths < 0n ? -hundredths : hundredths).padStart(3, '0')
  return `${sign}${digits.slice(0, -2)}.${digits.slice(-2)}`
}
