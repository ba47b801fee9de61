/** A URL that cannot be requested is an error of the file, not of the run, and the error shows no part of it. */
import { describe, expect, test } from 'vitest'
import { formatText } from '../../../src/config/format.ts'
import { loadText } from '../../../src/config/load.ts'

const problemsOf = async (file: object): Promise<string> => {
  const { problems } = await loadText('p.yaml', JSON.stringify({ name: 'p', sources: [{ stdin: {} }], sinks: [{ stdout: {} }], ...file }), {
    env: {},
  })
  return formatText(problems)
}
const STEPS: Record<string, (rest: string) => object> = {
  'http sink': rest => ({ sinks: [{ http: { url: `http://${rest}` } }] }),
  lookup_http: rest => ({ transforms: [{ lookup_http: { url: `http://${rest}{key}`, key: 'a', as: 'b' } }] }),
  runner_status: rest => ({ sources: [{ runner_status: { urls: `http://${rest}` } }] }),
  'token URL of kafka': rest => ({
    sinks: [
      {
        kafka: {
          topic: 't',
          brokers: 'b:1',
          security_protocol: 'SASL_SSL',
          sasl_mechanism: 'OAUTHBEARER',
          sasl_oauth_token_url: `https://${rest}`,
        },
      },
    ],
  }),
  websocket: rest => ({ sources: [{ websocket: { url: `wss://${rest}` } }] }),
}

describe.each(Object.keys(STEPS))('%s', step => {
  test.each(['h:99999/x', '[::1/x', 'user:Canary/x@h/x'])('%s cannot be requested', async rest => {
    const text = await problemsOf(STEPS[step](rest))
    expect(text).toMatch(/CONFIG_.*(must be a .*URL|has the wrong form)/)
    expect(text.replaceAll(/^ *\d+ \|.*$/gm, '')).not.toContain('Canary')
  })
  test('a valid URL is accepted', async () => expect(await problemsOf(STEPS[step]('h.example:8443/a?b=c'))).toBe(''))
})

test.each(Object.keys(STEPS).filter(step => step !== 'websocket'))('%s: fetch does not send the login of a URL', async step => {
  expect(await problemsOf(STEPS[step]('user:Canary@h/x'))).toContain('must not contain a user name or password')
})
