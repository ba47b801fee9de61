/** Runs records through a pipeline in memory, on a virtual clock: nothing is read, written or committed. */
import type { Pipeline } from '../../config/model.ts'
import { encodeJson } from '../../contract/plugin.ts'
import { withRejectionSink } from '../../testing/fakes.ts'
import { type OutputRecord, PipelineTest, type TestRecord } from '../../testing/pipeline.ts'
import { tapped } from './taps.ts'

export interface StepTrace {
  readonly step: string
  readonly in: number
  readonly out: number
  /** The last records before the step, as JSON. */
  readonly before: readonly string[]
  readonly after: readonly string[]
}

export interface Trace {
  readonly records: number
  readonly steps: readonly StepTrace[]
  readonly sinks: readonly { readonly sink: string; readonly count: number; readonly samples: readonly string[] }[]
  readonly dead: readonly { readonly step?: string; readonly message?: string; readonly value: string }[]
  /** Why the pipeline stopped, if it did. */
  readonly error?: string
}

/** Samples per place. */
const SAMPLES = 3

/** @param records in their order; the steps begin without state, and at the end of the input windows close */
export async function replay(pipeline: Pipeline, records: readonly TestRecord[]): Promise<Trace> {
  const { pipeline: withTaps, places } = tapped(pipeline, SAMPLES)
  const withDlq = withRejectionSink(withTaps)
  // Without a dlq, the first record that fails would end the replay.
  const dlq = withDlq.dlq ?? { ...pipeline.sinks[0], name: 'dlq', when: undefined, from: undefined }
  let error: string | undefined
  const sinks: Trace['sinks'][number][] = []
  const dead: Trace['dead'][number][] = []
  const times = records.map(r => Number(r.time ?? 0))
  const test = new PipelineTest({ ...withDlq, dlq }, { clock: times.length > 0 ? Math.max(0, ...times) : 0 })
  try {
    await test.start()
    await test.send(records)
    await test.end()
    for (const { name } of pipeline.sinks) {
      const outputs = await test.outputs(name)
      sinks.push({ sink: name, count: outputs.length, samples: outputs.slice(-SAMPLES).map(jsonOf) })
    }
    for (const letter of await test.deadLetters()) dead.push({ step: letter.step, message: letter.message, value: jsonOf(letter) })
  } catch (failure) {
    error = (failure as Error).message
  } finally {
    await test.close().catch(() => {})
  }
  const steps = pipeline.transforms.map(({ name }, i): StepTrace => {
    const { before, after } = places[i]
    return { step: name, in: before.count, out: after.count, before: before.samples, after: after.samples }
  })
  return { records: records.length, steps, sinks, dead, ...(error !== undefined && { error }) }
}

function jsonOf({ value, payload }: OutputRecord): string {
  try {
    return encodeJson(value)
  } catch {
    return JSON.stringify(payload?.toString() ?? null)
  }
}
