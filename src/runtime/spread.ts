/**
 * Detects records that a step groups together but that are on different lanes, for pipelines whose file does not exclude it. Each lane
 * makes its own result. In a sink that overwrites by key, the last result would replace the others, so the pipeline stops. Other sinks show
 * every result, so a warning is enough. Only lanes of this process are compared.
 */
import { EnvironmentError, type Logger, type Message, type Transform } from '../contract/plugin.ts'
import { type LaneKeyFinding, repartitionBy } from '../config/lane-keys.ts'
import { loadedLanguage } from '../expressions/on-demand.ts'
import { keyJson } from '../kit/values/key.ts'

/** Maximum number of keys whose lane is remembered; later keys are not checked. */
const MAX_KEYS = 10_000

export interface Spread {
  readonly finding: LaneKeyFinding
  /** A sink overwrites by key. */
  readonly overwrites: boolean
  readonly log: Logger
  /** Lane by key, shared by the lanes of the step. */
  readonly lanes: Map<string, string>
  warned: boolean
}

export function watchSpread(transform: Transform, lane: string, spread: Spread): Transform {
  const expression = loadedLanguage().compile(spread.finding.by)
  const check = (message: Message): void => {
    let key: string
    try {
      key = keyJson(expression.evaluate(message))
    } catch {
      // The step itself reports the problem of the message.
      return
    }
    const { lanes } = spread
    const first = lanes.get(key)
    if (first === lane) return
    if (first !== undefined) report(spread, key, first, lane)
    else if (lanes.size < MAX_KEYS) lanes.set(key, lane)
  }
  const process = transform.process.bind(transform)
  transform.process = (messages, out) => {
    if (!spread.warned) for (const message of messages) check(message)
    return process(messages, out)
  }
  return transform
}

/** @throws {EnvironmentError} if results would overwrite each other */
function report(spread: Spread, key: string, first: string, second: string): void {
  const { step, by } = spread.finding
  const what = `${step}: records of one \`${by}\` are on several lanes (${key} on ${first} and on ${second}), and each lane has a separate result`
  const way = `put \`${repartitionBy(by)}\` before ${step}`
  if (spread.overwrites) throw new EnvironmentError(`${what}; a sink that writes by key would overwrite one with the other. ${way}`)
  spread.warned = true
  spread.log.warn({ step, key, lanes: [first, second] }, `${what}. ${way}`)
}
