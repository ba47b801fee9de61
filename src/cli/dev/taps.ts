/** Steps between the steps of a pipeline, which note the records that pass and change nothing. */
import type { Pipeline, Step } from '../../config/model.ts'
import { defineTransform, encodeJson, type Message, type TransformPlugin } from '../../contract/plugin.ts'

/** Calls back for each batch. */
export function tap(name: string, at: Step['at'], note: (messages: readonly Message[]) => void): Step<TransformPlugin> {
  const plugin = defineTransform({
    type: 'tap',
    schema: {},
    create: () => ({
      process(messages, out) {
        note(messages)
        for (const m of messages) out.emit(m)
      },
    }),
  })
  return { type: 'tap', name, plugin, config: {}, at, secrets: [] }
}

/** What passed one place. */
export interface Passed {
  count: number
  /** The last records, as JSON. */
  readonly samples: string[]
}

/** The pipeline with a tap before the first step and after each. @param max samples per place */
export function tapped(pipeline: Pipeline, max: number): { readonly pipeline: Pipeline; readonly places: readonly Passed[] } {
  const places: Passed[] = []
  const place = (step: Step, i: number): Step<TransformPlugin> => {
    const passed: Passed = { count: 0, samples: [] }
    places.push(passed)
    return tap(`dev ${i}`, step.at, messages => {
      passed.count += messages.length
      // Later steps may change the message in place.
      passed.samples.push(...messages.slice(-max).map(textOf))
      passed.samples.splice(0, passed.samples.length - max)
    })
  }
  const transforms = [place(pipeline.sources[0], 0), ...pipeline.transforms.flatMap((step, i) => [step, place(step, i + 1)])]
  const links = pipeline.links?.map(link => ({ ...link, index: link.index * 2 + 1 }))
  return { pipeline: { ...pipeline, transforms, ...(links && { links }) }, places }
}

/** The value as JSON; bytes that cannot be decoded, as text. */
export function textOf(message: Message): string {
  try {
    return encodeJson(message.value)
  } catch {
    return JSON.stringify(message.payload?.toString() ?? null)
  }
}
