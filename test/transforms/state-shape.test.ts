/** Each setting of a stateful transform either affects its state, so that a restart with another value is an error, or is listed here. */
import { expect, test } from 'vitest'
import bars from '../../src/transforms/bars.ts'
import dedupe from '../../src/transforms/dedupe.ts'
import join from '../../src/transforms/join.ts'
import joinLatest from '../../src/transforms/join_latest.ts'
import throttle from '../../src/transforms/throttle.ts'
import window from '../../src/transforms/window.ts'

/** Settings that may change between two runs without affecting existing state. */
const FREE = new Set(
  (
    'allowed_lateness idle_timeout on_late retain prices max_future gap_fill gap_limit collect_limit ttl max_keys ' +
    'on_missing wait max_waiting on_null into outside as max_age max on_gap type on_unmatched max_records'
  ).split(' '),
)

test.each([bars, dedupe, join, joinLatest, throttle, window].map(p => [p.type, p] as const))('%s', (_, plugin) => {
  const settings = Object.keys((plugin.schema as { properties: object }).properties)
  // Every setting is present, with a unique value.
  const config = Object.fromEntries(settings.map(name => [name, name === 'fields' ? { price: 'fields' } : name]))
  const shape = JSON.stringify(plugin.stateShape!(config as never))
  expect(settings.filter(name => !FREE.has(name) && !shape.includes(`"${name}"`))).toEqual([])
})
