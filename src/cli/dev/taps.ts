/** Steps between the steps of a pipeline, which note the records that pass and change nothing. */
import type { Pipeline, Step } from '../../config/model.ts'
import { branchesOf } from '../../config/route.ts'
import { defineTransform, encodeJson, type Message, type TransformPlugin } from '../../contract/plugin.ts'

/** Calls back for each batch. @param branch of a `route` that it is in */
export function tap(name: string, at: Step['at'], note: (messages: readonly Message[]) => void, branch?: string): Step<TransformPlugin> {
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
  return { type: 'tap', name, plugin, config: {}, at, secrets: [], ...(branch !== undefined && { branch }) }
}

/** What passed one place. */
export interface Passed {
  count: number
  /** The last records, as JSON. */
  readonly samples: string[]
}

export interface Places {
  readonly before: Passed
  /** Of a route: what leaves it, without what its branches write to their sinks. */
  readonly after: Passed
}

/**
 * The pipeline with a tap before and after each step, in the branch of the step.
 * @param max samples per place. @returns the places of each step
 */
export function tapped(pipeline: Pipeline, max: number): { readonly pipeline: Pipeline; readonly places: readonly Places[] } {
  const places: Places[] = []
  const transforms: Step<TransformPlugin>[] = []
  const positions: number[] = []
  const open: { readonly route: Step<TransformPlugin>; readonly after: Passed }[] = []
  const add = ({ at, branch }: Step<TransformPlugin>, passed: Passed): void => {
    const note = (messages: readonly Message[]): void => {
      passed.count += messages.length
      // Later steps may change the message in place.
      passed.samples.push(...messages.slice(-max).map(textOf))
      passed.samples.splice(0, passed.samples.length - max)
    }
    transforms.push(tap(`dev ${transforms.length}`, at, note, branch))
  }
  // A tap behind a route ends it, so it is behind the last step of the branches.
  const close = (branch: string | undefined): void => {
    while (open.length > 0 && branch?.startsWith(`${open.at(-1)!.route.name}/`) !== true) {
      const { route, after } = open.pop()!
      add(route, after)
    }
  }
  for (const step of pipeline.transforms) {
    const [before, after]: Passed[] = [
      { count: 0, samples: [] },
      { count: 0, samples: [] },
    ]
    places.push({ before, after })
    close(step.branch)
    add(step, before)
    positions.push(transforms.push(step) - 1)
    if (branchesOf(step) === undefined) add(step, after)
    else open.push({ route: step, after })
  }
  close(undefined)
  const links = pipeline.links?.map(link => ({ ...link, index: positions[link.index] }))
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
