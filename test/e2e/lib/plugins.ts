/** Sinks of a user's own, for tests: files to put beside a pipeline file and to name in `plugins:`. */

const sink = (type: string, write: string): string => `
export default {
  kind: 'sink',
  type: '${type}',
  schema: { type: 'object', description: 'For tests.', additionalProperties: false, properties: {} },
  onRedelivery: 'appends',
  reason: 'a test',
  create: () => ({ write: ${write} }),
}
`

/** Takes a batch and never answers. */
export const hangingSink = sink('hang', `() => { console.log('hanging'); setInterval(() => {}, 1000); return new Promise(() => {}) }`)

/** Takes 10 ms for every 20 records: 2,000 a second. */
export const slowSink = sink(
  'slow',
  `async messages => {
      for (let i = 0; i < messages.length; i += 20) await new Promise(resolve => setTimeout(resolve, 10))
    }`,
)
