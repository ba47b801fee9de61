/** `--dry-run`: reads and transforms as the file defines, prints the records that would be written, and writes and commits nothing. */
import { DLQ_HEADERS } from '../kit/dead-letter/headers.ts'
import { oneLine } from '../kit/text/printable.ts'
import { defineSink, type Message, type SinkPlugin } from '../contract/plugin.ts'
import type { Pipeline, SinkStep } from '../config/model.ts'

export function asDryRun(pipeline: Pipeline, write: (line: string) => void): Pipeline {
  const preview = (step: SinkStep, label: string): SinkStep => ({ ...step, plugin: previewSink(label, write), config: {} })
  return {
    ...pipeline,
    delivery: 'at_least_once',
    sinks: pipeline.sinks.map(s => preview(s, s.name)),
    dlq: preview(pipeline.dlq ?? { ...pipeline.sinks[0], name: 'dlq' }, pipeline.dlq ? 'dlq' : 'no dlq: the pipeline would stop here'),
  }
}

function previewSink(label: string, write: (line: string) => void): SinkPlugin {
  return defineSink({
    type: 'preview',
    schema: {},
    onRedelivery: 'appends',
    reason: 'prints only',
    create: () => ({
      async write(messages: readonly Message[]) {
        for (const m of messages) write(`${label}  ${oneLine(m.key ?? '-')}  ${oneLine(m.encode()?.toString() ?? '(tombstone)')}${why(m)}`)
      },
    }),
  })
}

const why = (m: Message): string => {
  const reason = m.headers?.findLast(([name]) => name === DLQ_HEADERS.message)
  return reason ? `  # ${oneLine(String(reason[1]))}` : ''
}
