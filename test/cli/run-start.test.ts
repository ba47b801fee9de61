/** The line with which `runner run` starts a pipeline. */
import { expect, test } from 'vitest'
import '../../src/built-in.ts'
import { startOf, type StartOptions, startText } from '../../src/cli/run-start.ts'
import { loadText } from '../../src/config/load.ts'
import { silentLogger } from '../../src/runtime/telemetry/log.ts'
import { build } from '../../src/runtime/build.ts'
import { memoryCheckpoints } from '../../src/runtime/checkpoints/memory.ts'
import { systemClock } from '../../src/kit/clock.ts'
import { loadLanguageFor } from '../../src/config/lane-keys.ts'

async function line(text: string, options: StartOptions = {}): Promise<string> {
  const { pipeline, problems } = await loadText('p.yaml', `name: p\n${text}`)
  expect(problems.filter(p => p.severity === 'error')).toEqual([])
  await loadLanguageFor(pipeline!)
  const { sources } = build(pipeline!, {
    clock: systemClock,
    log: silentLogger,
    range: options.range,
    localCheckpoints: () => memoryCheckpoints(),
  })
  return startText(startOf(pipeline!, sources, options))
}

const BARS = `
sources: [{ kafka: { topics: [ticks], group: g } }]
transforms: [{ bars: 1m }]
sinks: [{ kafka: { topic: out } }]
dlq: { kafka: { topic: dead } }
delivery: exactly_once
metrics: { port: 9100 }
`

test.each<[string, string, StartOptions, string]>([
  [
    'exactly once, with state, a dlq and metrics',
    BARS,
    {},
    'p started: kafka ticks → kafka out, dlq kafka dead; from the committed position of group g, or from earliest if there is none; exactly once; state in embedded:.runner/log.db; metrics http://127.0.0.1:9100/metrics',
  ],
  ['--fresh', BARS, { fresh: true }, 'from earliest (--fresh); exactly once'],
  [
    'a backfill commits no position',
    BARS,
    { range: { from: 0, to: 60_000 } },
    'from 1970-01-01T00:00:00.000Z to 1970-01-01T00:01:00.000Z; no position is committed; state in memory for this run',
  ],
  ['a dry run', BARS, { range: {}, dryRun: true }, 'kafka ticks → standard output; from the oldest record; no position is committed'],
  [
    'a source that cannot be read again listens, and its state is local',
    'sources: [{ http: { path: /in, port: 8080 } }]\ntransforms: [{ bars: 1m }]\nsinks: [{ stdout: {} }]',
    {},
    'state in .runner/checkpoints.db; http listens on 127.0.0.1:8080',
  ],
  [
    'several sources with different positions',
    'sources: [{ stdin: {} }, { file: { path: in.jsonl } }]\nsinks: [{ stdout: {} }]',
    {},
    '; stdin from now on, file from the committed position, or from the beginning if there is none; at most once; no state',
  ],
])('%s', async (_, text, options, expected) => {
  expect(await line(text, options)).toContain(expected)
})
