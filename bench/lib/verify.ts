/** Reads an output with kcat, read committed, and holds it against what must be there. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Dataset, Tick } from './dataset.ts'

export interface Output {
  /** Offsets of the records, ascending: control records of transactions leave gaps. */
  offsets: number[]
  lines: string[]
}

export async function readKafka(brokers: string, topic: string): Promise<Output> {
  const args = [
    '-C',
    '-q',
    '-e',
    '-b',
    brokers,
    '-t',
    topic,
    '-p',
    '0',
    '-o',
    'beginning',
    '-X',
    'isolation.level=read_committed',
    '-f',
    '%o %s\n',
  ]
  const child = spawn('kcat', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  const output: Output = { offsets: [], lines: [] }
  for await (const line of createInterface(child.stdout)) {
    const space = line.indexOf(' ')
    output.offsets.push(Number(line.slice(0, space)))
    output.lines.push(line.slice(space + 1))
  }
  const code = await ended
  if (code !== 0) throw new Error(`kcat: exit ${code}`)
  return output
}

/** `exact`: byte for byte. Otherwise the same bars with doubles' rounding allowed. @throws {Error} naming the first difference. */
export function checkBars(lines: readonly string[], data: Dataset, exact: boolean): void {
  const expected = data.bars()
  // The closing tick's own bar may be out already, or not.
  const closing = expected.length + 1
  if (lines.length !== expected.length && lines.length !== closing) throw new Error(`${lines.length} bars, expected ${expected.length}`)
  expected.forEach((want, i) => {
    if (exact ? lines[i] !== want : !close(JSON.parse(lines[i]), JSON.parse(want))) {
      throw new Error(`bar ${i} differs:\n  is        ${lines[i]}\n  should be ${want}`)
    }
  })
}

/** As `checkMapped`, digit for digit: what is passed on as text, the product by integers. */
export function checkDigits(lines: readonly string[], data: Pick<Dataset, 'count' | 'lines'>): void {
  if (lines.length !== data.count + 1) throw new Error(`${lines.length} records, expected ${data.count + 1}`)
  let i = 0
  for (const tick of data.lines()) {
    const [, symbol, price, volume, ts] = TICK.exec(tick)!
    const want = `{"symbol":"${symbol}","price":${price},"size":${volume},"value":${product(price, volume)},"time":${ts}}`
    if (lines[i] !== want) throw new Error(`record ${i} differs:\n  is        ${lines[i]}\n  should be ${want}`)
    i++
  }
}

/** A small volume has an exponent: 5.7e-7. */
const TICK = /"symbol":"(\w+)","price":(\d+\.\d+),"volume":(\d+\.\d+(?:e-\d+)?),"ts":(\d+)/

/** Both have a fraction, and end with another digit than 0 or 5; the product is written without an exponent. */
function product(a: string, b: string): string {
  let places = 0
  let whole = 1n
  for (const number of [a, b]) {
    const [digits, exponent = '0'] = number.split('e')
    places += digits.length - digits.indexOf('.') - 1 - Number(exponent)
    whole *= BigInt(digits.replace('.', ''))
  }
  const digits = whole.toString().padStart(places + 1, '0')
  return `${digits.slice(0, -places)}.${digits.slice(-places)}`
}

/** Every tick once and in order, five fields each; the closing tick's record comes last. */
export function checkMapped(lines: readonly string[], data: Dataset): void {
  if (lines.length !== data.count + 1) throw new Error(`${lines.length} records, expected ${data.count + 1}`)
  let i = 0
  for (const tick of data.ticks()) {
    if (!close(JSON.parse(lines[i]), mapped(tick))) {
      throw new Error(`record ${i} differs:\n  is        ${lines[i]}\n  should be ${JSON.stringify(mapped(tick))}`)
    }
    i++
  }
}

const mapped = ({ symbol, price, volume, ts }: Tick) => ({ symbol, price, size: volume, value: price * volume, time: ts })

function close(is: Record<string, unknown>, want: Record<string, unknown>): boolean {
  const keys = Object.keys(want)
  if (Object.keys(is).length !== keys.length) return false
  return keys.every(key => {
    const a = is[key]
    const b = want[key]
    return a === b || (typeof a === 'number' && typeof b === 'number' && Math.abs(a - b) <= 1e-9 * Math.abs(b))
  })
}
