import { oneLine } from '../../kit/text/printable.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { PluginError } from '../../kit/plugin-error.ts'
import { type Logger, PipelineError, type Plugin, type CheckResult, type CheckContext } from '../../contract/plugin.ts'
import type { Pipeline, Step } from '../../config/model.ts'
import { isOneShot, transactionsOf } from '../../config/traits.ts'
import { mark, type Outcome, paint, print, printJson, quiet } from '../output.ts'
import type { CheckFlags } from '../check.ts'
import { partsOf } from '../../config/parts.ts'
import { loadAll } from '../load.ts'

interface StepReport {
  readonly step: string
  readonly role: CheckContext['role']
  readonly type: string
  /** False: the plugin has no check. */
  readonly checked: boolean
  readonly findings: readonly CheckResult[]
}
interface PipelineReport {
  readonly pipeline: string
  readonly file: string
  readonly ok: boolean
  readonly steps: readonly StepReport[]
}

/** @returns the exit code. */
export async function check(files: readonly string[], { set, brokers, timeout, json }: CheckFlags): Promise<number> {
  const pipelines = await loadAll(files, set, brokers)
  if (typeof pipelines === 'number') return pipelines
  const reports = await Promise.all(pipelines.map(p => checkPipeline(p, timeout)))
  if (json) printJson({ ok: reports.every(r => r.ok), pipelines: reports })
  else print(reports.map(toText).join('\n'))
  return reports.every(r => r.ok) ? EXIT.ok : EXIT.environment
}

async function checkPipeline(pipeline: Pipeline, timeout: number): Promise<PipelineReport> {
  const steps: [Step<Plugin>, CheckContext['role']][] = [
    ...pipeline.sources.map(s => [s, 'source'] as [Step<Plugin>, 'source']),
    ...pipeline.transforms.map(s => [s, 'transform'] as [Step<Plugin>, 'transform']),
    ...pipeline.sinks.map(s => [s, 'sink'] as [Step<Plugin>, 'sink']),
    ...(pipeline.links ?? []).map(l => [l.sink, 'sink'] as [Step<Plugin>, 'sink']),
    ...(pipeline.dlq ? [[pipeline.dlq, 'dlq'] as [Step<Plugin>, 'dlq']] : []),
  ]
  const holders = new Set(partsOf(pipeline).flatMap(part => [...holdersOf(part)]))
  const reports = await Promise.all(steps.map(([step, role]) => checkStep(pipeline, step, role, holders, timeout)))
  return { pipeline: pipeline.name, file: pipeline.file, ok: reports.every(r => r.findings.every(f => f.ok)), steps: reports }
}

const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** Steps whose transactions contain the checkpoints: as `checkpointLocation` decides for a run. */
function holdersOf({ sources, sinks, transforms, delivery }: Pipeline): Set<Step<Plugin>> {
  const stateful = transforms.some(t => t.plugin.stateful)
  return new Set(
    sources.flatMap((source): Step<Plugin>[] => {
      if (isOneShot(source)) return []
      if (delivery !== 'exactly_once') return stateful && source.plugin.transactions ? [source] : []
      const found = transactionsOf(source, sinks)
      return found?.own ? [source] : sinks.filter(s => s.config === found?.config)
    }),
  )
}

async function checkStep(
  pipeline: Pipeline,
  step: Step<Plugin>,
  role: CheckContext['role'],
  holders: ReadonlySet<Step<Plugin>>,
  timeout: number,
): Promise<StepReport> {
  const common = { step: step.name, role, type: step.type }
  if (!step.plugin.check) return { ...common, checked: false, findings: [] }
  const controller = new AbortController()
  const context: CheckContext = {
    step: step.name,
    role,
    pipeline: pipeline.name,
    version: pipeline.version,
    delivery: pipeline.delivery,
    checkpoints: holders.has(step),
    sources: role === 'sink' ? pipeline.sources.map(({ type, config }) => ({ type, config: config as unknown })) : undefined,
    log: silent,
    signal: controller.signal,
  }
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<CheckResult[]>(resolve => {
    timer = setTimeout(() => {
      controller.abort(new Error('the check timed out'))
      resolve([
        {
          what: step.type,
          ok: false,
          detail: `no answer within ${timeout} ms`,
          fix: 'check for a firewall in between, or raise --timeout',
        },
      ])
    }, timeout)
  })
  const asked = Promise.resolve()
    .then(() => step.plugin.check!(step.config as never, context))
    .catch((thrown: unknown): CheckResult[] => {
      if (thrown instanceof PipelineError) return [{ what: step.type, ok: false, detail: thrown.message }]
      const { message } = new PluginError({ step: step.name, at: step.at, method: 'check' }, thrown)
      const [detail, fix] = message.split('\n  ')
      return [{ what: step.type, ok: false, detail, fix }]
    })
  const findings = await Promise.race([asked, late])
  clearTimeout(timer)
  return { ...common, checked: true, findings }
}

function toText({ pipeline, file, ok, steps }: PipelineReport): string {
  const lines = [`${paint('bold', pipeline)} (${file})`]
  for (const { step, role, type, checked, findings } of steps) {
    const shown = quiet() ? findings.filter(f => outcomeOf(f) !== 'ok') : findings
    if (quiet() && shown.length === 0) continue
    lines.push(`  ${role} ${step}${step === type ? '' : ` (${type})`}${checked ? '' : ': no external dependency to check'}`)
    for (const f of shown) {
      lines.push(`    ${mark(outcomeOf(f))}  ${flat(f.what)}${f.detail === undefined ? '' : `: ${flat(f.detail)}`}`)
      if (f.fix !== undefined) lines.push(`              do: ${flat(f.fix)}`)
    }
  }
  const failed = steps.reduce((n, s) => n + s.findings.filter(f => !f.ok).length, 0)
  const warnings = steps.reduce((n, s) => n + s.findings.filter(f => outcomeOf(f) === 'warning').length, 0)
  const well = warnings === 0 ? '  all checks passed' : `  no failures, ${warnings} warning${warnings === 1 ? '' : 's'}`
  lines.push(ok ? well : `  ${failed} of ${steps.reduce((n, s) => n + s.findings.length, 0)} findings failed`)
  return `${lines.join('\n')}\n`
}

/** A name of a file or an error of a peer may have several lines. */
const flat = (text: string): string => oneLine(text.replaceAll(/\s*\n\s*/g, ' '))

const outcomeOf = ({ ok, fix }: CheckResult): Outcome => (!ok ? 'failed' : fix === undefined ? 'ok' : 'warning')
