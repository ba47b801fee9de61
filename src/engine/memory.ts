/** Connects `memory` sources and sinks to the channels of the embedding program. */
import type { Pipeline, Step } from '../config/model.ts'
import type { MemoryChannel } from '../connectors/memory/channel.ts'
import { PipelineError } from '../contract/plugin.ts'

export type MemoryChannels = Readonly<Record<string, MemoryChannel>>

export interface Given {
  readonly pipeline: Pipeline
  start(): void
  end(error: Error | undefined): void
}

/** @throws {PipelineError} `PIPE_CHANNEL` when a step has no channel or a channel has no step, because records would be lost silently */
export function givenChannels(pipeline: Pipeline, channels: MemoryChannels | undefined): Given {
  if (channels === undefined) return { pipeline, start() {}, end() {} }
  const found = new Set<string>()
  const outputs: MemoryChannel[] = []
  const give = <S extends Step>(step: S, isSink: boolean): S => {
    if (step.type !== 'memory') return step
    const { channel } = step.config as { channel: string }
    if (!Object.hasOwn(channels, channel))
      throw new PipelineError(
        'PIPE_CHANNEL',
        `step '${step.name}' uses the channel '${channel}', which is not given: add it to the option memory`,
      )
    found.add(channel)
    if (isSink) outputs.push(channels[channel])
    return { ...step, config: { ...(step.config as object), given: channels[channel] } }
  }
  const given = {
    ...pipeline,
    sources: pipeline.sources.map(s => give(s, false)),
    sinks: pipeline.sinks.map(s => give(s, true)),
    dlq: pipeline.dlq && give(pipeline.dlq, true),
  }
  const unused = Object.keys(channels).find(name => !found.has(name))
  if (unused !== undefined) {
    const names = found.size === 0 ? 'it has no memory source or sink' : `it uses ${[...found].join(', ')}`
    throw new PipelineError(
      'PIPE_CHANNEL',
      `pipeline '${pipeline.name}' does not use the channel '${unused}' of the option memory: ${names}`,
    )
  }
  return {
    pipeline: given,
    start: () => outputs.forEach(c => c.addWriter()),
    end: error => outputs.forEach(c => c.removeWriter(error)),
  }
}
