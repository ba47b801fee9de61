/** The status of the pipelines of this process, and of other runners. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunnerStatusSourceConfig } from '../../generated/config-types.ts'
import { defineSource, Message, type Origin, type CheckResult, type CheckContext } from '../../contract/plugin.ts'
import { readJson } from '../../kit/http/answer.ts'
import { fetchMistake } from '../../kit/http/url.ts'
import { statusOfAll } from '../../kit/pipeline-status.ts'
import schema from './source.schema.json' with { type: 'json' }
import { reasonOf } from '../../kit/system-error.ts'

/** The schema of an object with these fields. */
function record(names: string): object {
  const required = names.split(' ')
  return { type: 'object', required, additionalProperties: false, properties: Object.fromEntries(required.map(name => [name, true])) }
}

export default defineSource<RunnerStatusSourceConfig>({
  type: 'runner_status',
  schema,
  replayable: false,
  reason: 'a past status cannot be queried again',
  validateConfig({ every, urls }) {
    const problems = every > 0 ? [] : [{ path: ['every'], message: 'must be greater than 0' }]
    for (const [i, url] of listOf(urls).entries()) {
      const mistake = fetchMistake(url)
      if (mistake !== undefined) problems.push({ path: ['urls'], message: `URL ${i + 1} ${mistake}, such as http://10.0.0.5:8000` })
    }
    return problems
  },
  outputSchema: {
    anyOf: [record('pipeline version status problems in out dead lag retries watermark'), record('url pipeline status problems')],
  },
  check: checkUrls,

  create({ every, urls, timeout, rounds }, ctx) {
    const lane = ctx.step
    const origin: Origin = { lane, source: ctx.step, format: 'json' }
    const others = listOf(urls)
    let offset = 0
    let round = 0
    let due = Number.NEGATIVE_INFINITY

    return {
      async open() {
        const positions = await ctx.assign([{ id: lane, source: ctx.step }])
        offset = (positions.get(lane) as number | undefined) ?? 0
      },

      async read(signal) {
        for (;;) {
          signal.throwIfAborted()
          if (rounds > 0 && round >= rounds) return null
          const now = ctx.clock.monotonic()
          if (now >= due) break
          await sleep(Math.min(250, due - now), undefined, { signal }).catch(() => signal.throwIfAborted())
        }
        const asked = await Promise.all(others.map(url => ask(url, timeout, signal)))
        const now = ctx.clock.now()
        due = ctx.clock.monotonic() + every
        round++
        const messages = [...statusOfAll(), ...asked.flat()].map(
          status => new Message(status, status.pipeline ?? (status as Answer).url, now, undefined, offset++, origin),
        )
        return { lane, messages, position: offset }
      },

      caughtUp: () => ctx.clock.monotonic() < due,
    }
  },
})

/** Checks that each runner answers. A runner that is not ready is healthy enough for the check. */
async function checkUrls({ urls, timeout }: RunnerStatusSourceConfig, { signal }: CheckContext): Promise<CheckResult[]> {
  const others = listOf(urls)
  if (others.length === 0) return [{ what: 'pipelines of this process', ok: true, detail: 'no network needed' }]
  return Promise.all(
    others.map(async url => {
      const answers = await ask(url, timeout, signal)
      const lost = answers.find(a => a.status === 'unreachable')
      const what = `runner ${url}`
      return lost
        ? {
            what,
            ok: false,
            detail: lost.problems[0],
            fix: 'check that the runner is running, that metrics.port is set, and that the url is correct',
          }
        : { what, ok: true, detail: answers.map(a => `${a.pipeline}: ${a.status}`).join(', ') }
    }),
  )
}

interface Answer {
  readonly url: string
  readonly pipeline: string | null
  readonly status: 'ok' | 'not_ready' | 'unreachable'
  readonly problems: readonly string[]
}

async function ask(url: string, timeout: number, signal: AbortSignal): Promise<Answer[]> {
  try {
    const response = await fetch(new URL('/ready', url), { signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]) })
    const { pipelines } = ((await readJson(response)) ?? {}) as { pipelines?: { pipeline: string; problems: string[] }[] }
    if (!Array.isArray(pipelines) || !pipelines.every(p => Array.isArray(p?.problems)))
      throw new Error(`${url} answers ${response.status}, without the status of a runner: check the URL`)
    return pipelines.map(({ pipeline, problems }) => ({ url, pipeline, status: problems.length === 0 ? 'ok' : 'not_ready', problems }))
  } catch (error) {
    signal.throwIfAborted()
    const { message, cause } = error as Error
    return [{ url, pipeline: null, status: 'unreachable', problems: [cause instanceof Error ? reasonOf(cause) : message] }]
  }
}

const listOf = (urls: readonly string[] | string): string[] =>
  (typeof urls === 'string' ? urls.split(',') : [...urls]).map(u => u.trim()).filter(Boolean)
