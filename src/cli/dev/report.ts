/** What `runner dev` prints: lines for people, or one JSON object per event. */
import type { Problem } from '../../config/model.ts'
import { fit } from '../../kit/text/columns.ts'
import { safeJson } from '../../kit/text/printable.ts'
import { failureText, type Paint, testLine } from '../../testing/report.ts'
import type { FileResult } from '../../testing/engine.ts'
import { printProblems } from '../load.ts'
import { outcomeLine, paint, print, printError, widthOf } from '../output.ts'
import type { Trace } from './replay.ts'

export interface DevReport {
  invalid(problems: readonly Problem[], hasValid: boolean): Promise<void>
  valid(file: string, warnings: readonly Problem[]): Promise<void>
  tests(result: FileResult): Promise<void>
  trace(trace: Trace): void
  /** How the pipeline runs now. */
  state(event: string, text: string, details?: Readonly<Record<string, unknown>>): void
  failed(message: string): void
}

export const jsonReport: DevReport = {
  invalid: async (problems, hasValid) => line({ event: 'invalid', last_valid_version_runs: hasValid, problems }),
  valid: async (file, warnings) => line({ event: 'valid', file, warnings }),
  tests: async ({ file, problems, results }) =>
    line({
      event: 'tests',
      file,
      problems,
      passed: results.filter(r => r.failures.length === 0).length,
      failed: results.flatMap(r => (r.failures.length > 0 ? [r.test.name] : [])),
    }),
  trace: ({ steps, sinks, dead, ...trace }) =>
    line({
      event: 'replay',
      ...trace,
      steps: steps.map(s => ({ ...s, before: s.before.map(raw), after: s.after.map(raw) })),
      sinks: sinks.map(s => ({ ...s, samples: s.samples.map(raw) })),
      dead: dead.map(d => ({ ...d, value: raw(d.value) })),
    }),
  state: (event, text, details) => line({ event, message: text, ...details }),
  failed: message => line({ event: 'failed', message }),
}

/** A record that is JSON already: its numbers keep their digits. */
class Raw {
  readonly json: string
  constructor(json: string) {
    this.json = json
  }
}
const raw = (json: string): Raw => new Raw(json)

function line(event: object): void {
  const parts: string[] = []
  // A text of an event cannot be a mark: NUL is escaped in JSON, and no mark of this event is before it.
  const text = JSON.stringify(event, (_, value: unknown) => (value instanceof Raw ? `\0${parts.push(value.json) - 1}\0` : value))
  print(`${safeJson(text.replaceAll(/"\\u0000(\d+)\\u0000"/g, (all, i: string) => parts[Number(i)] ?? all))}\n`)
}

const plain: Paint = (style, text) => paint(style === 'good' ? 'accent' : style, text)
const shown = (json: string): string => fit(safeJson(json), Math.max(40, (widthOf() ?? 120) - 8))

export const textReport: DevReport = {
  async invalid(problems, hasValid) {
    await printProblems(problems)
    print(outcomeLine('failed', `invalid${hasValid ? ': the last valid version keeps running' : ''}; waiting for changes`))
  },
  async valid(file, warnings) {
    if (warnings.length > 0) await printProblems(warnings)
    print(outcomeLine('ok', `${file} is valid`))
  },
  async tests({ file, problems, results }) {
    if (problems.length > 0) await printProblems(problems)
    const failed = results.filter(r => r.failures.length > 0)
    for (const result of failed) print(`${[testLine(result, plain), ...result.failures.map(f => failureText(f, plain))].join('\n')}\n`)
    print(
      outcomeLine(
        failed.length + problems.length > 0 ? 'failed' : 'ok',
        problems.length > 0 ? `${file} is invalid` : `${file}: ${results.length - failed.length} passed, ${failed.length} failed`,
      ),
    )
  },
  trace({ records, steps, sinks, dead, error }) {
    const width = Math.max(4, ...steps.map(s => s.step.length), ...sinks.map(s => s.sink.length + 5))
    const block = (name: string, counts: string, lines: readonly string[]): string[] => [
      `  ${paint('bold', name.padEnd(width))}  ${counts}`,
      ...lines.map(l => `      ${l}`),
    ]
    const lines = [
      `${records} ${records === 1 ? 'record' : 'records'} through ${steps.length} ${steps.length === 1 ? 'step' : 'steps'}, without earlier state`,
      ...steps.flatMap(s =>
        block(s.step, `${s.in} → ${s.out}`, [...s.before.map(j => paint('dim', `- ${shown(j)}`)), ...s.after.map(j => `+ ${shown(j)}`)]),
      ),
      ...sinks.flatMap(s => block(`sink ${s.sink}`, String(s.count), s.samples.map(shown))),
      ...(dead.length > 0
        ? block(
            'dlq',
            String(dead.length),
            dead.slice(-3).map(d => `${d.step ?? ''}: ${d.message ?? ''}  ${shown(d.value)}`),
          )
        : []),
    ]
    print(`${lines.join('\n')}\n`)
    if (error !== undefined) printError(`the replay stopped: ${error}`)
  },
  state: (_event, text) => print(`${paint('dim', text)}\n`),
  failed: message => printError(message),
}
