/**
 * Errors outside of calls of a plugin: thrown in a timer or an event handler, or a rejection of a promise that is not awaited. Node
 * would print its stack and end the process in the middle of a write. Only the command line handles them: a program that embeds the
 * engine has handlers of its own.
 */
import { dirname, sep } from 'node:path'
import type { Pipeline, Step } from '../config/model.ts'
import { exitOnPurpose, moduleOf, pluginsLoaded } from '../config/plugin-modules.ts'
import type { Logger } from '../contract/plugin.ts'
import type { PipelineHandle } from '../engine/launch.ts'
import { EXIT } from '../kit/exit-codes.ts'
import { PluginError, toError } from '../kit/plugin-error.ts'
import { locate, sites } from '../kit/throw-site.ts'
import { printError } from './output.ts'

type Event = 'uncaughtException' | 'unhandledRejection'
type OnStray = (thrown: unknown, event: Event) => void

const WHAT: Readonly<Record<Event, string>> = {
  uncaughtException: 'a timer or an event handler threw',
  unhandledRejection: 'a promise without await was rejected with',
}
const ADVICE: Readonly<Record<Event, string>> = {
  uncaughtException:
    "Correct the plugin: catch the error in the callback (an emitter needs a handler of 'error'), and throw it from the next call of the plugin.",
  unhandledRejection: 'Correct the plugin: await the promise in the call that starts it, or handle its rejection.',
}

/** A command that writes nothing needs no cleanup. */
const end: OnStray = (thrown, event) => {
  const { message, code } = strayError(thrown, event, [])
  printError(message)
  exitOnPurpose()
  process.exit(code)
}
let onStray = end

/** From now on such an error ends the command with a message. */
export function watchStrayErrors(): void {
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) process.on(event, (thrown: unknown) => onStray(thrown, event))
}

/** A step with a plugin that is not built in. */
interface Suspect {
  readonly pipeline: string
  readonly step: Step
}

/** While pipelines run, such an error stops the pipelines with that step, as any other error of a plugin does; all of them if the step is unknown. */
export class StrayErrors {
  /** Of the errors so far. */
  exitCode: number = EXIT.ok
  private readonly suspects: readonly Suspect[]
  private readonly log: Logger
  private readonly said = new Set<string>()
  private handles: readonly PipelineHandle[] | undefined
  /** Arrived before the handles existed. */
  private readonly early: StrayError[] = []

  constructor(pipelines: readonly Pipeline[], log: Logger) {
    this.suspects = pipelines.flatMap(p =>
      [...p.sources, ...p.transforms, ...p.sinks, ...(p.dlq ? [p.dlq] : [])]
        .filter(step => step.foreign)
        .map(step => ({ pipeline: p.name, step })),
    )
    this.log = log
    onStray = (thrown, event) => this.take(strayError(thrown, event, this.suspects))
  }

  /** Either all pipelines run, or none. */
  attach(handles: readonly PipelineHandle[]): void {
    this.handles = handles
    for (const error of this.early.splice(0)) this.handle(error)
  }

  private take(error: StrayError): void {
    this.exitCode = error.code
    // The pipelines may have ended before the process.
    process.exitCode = Math.max(Number(process.exitCode ?? 0), error.code)
    // An interval throws the same again and again until it is closed.
    if (this.said.has(error.message) || this.said.size > 100) return
    this.said.add(error.message)
    if (this.handles) this.handle(error)
    else this.early.push(error)
  }

  private handle(error: StrayError): void {
    // The lane has already ended the run with it, or logged it after its own end: an abort would report it again.
    if (error.reported) return
    const affected = this.handles!.filter(({ name }) => error.pipelines?.includes(name) ?? true)
    const running = affected.filter(handle => ['running', 'stopping'].includes(handle.status().state))
    for (const handle of running) handle.abort(error)
    // Otherwise the end of the pipeline reports it.
    if (running.length === 0) this.log.error({ error: error.name }, error.message)
  }
}

class StrayError extends Error {
  readonly code = EXIT.runtime
  /** Pipelines with the step; undefined: unknown. */
  readonly pipelines: readonly string[] | undefined
  /** The runtime has already reported it. */
  readonly reported: boolean

  constructor(name: string, message: string, cause: unknown, pipelines?: readonly string[], reported = false) {
    super(message, { cause })
    this.name = name
    this.pipelines = pipelines
    this.reported = reported
    if (cause instanceof Error) this.stack = cause.stack
  }
}

function strayError(thrown: unknown, event: Event, suspects: readonly Suspect[]): StrayError {
  if (thrown instanceof PluginError) {
    const { step, at } = thrown.call
    const own = suspects.filter(s => s.step.name === step && s.step.at.file === at.file)
    return new StrayError(thrown.name, thrown.message, thrown, pipelinesOf(own), thrown.reported)
  }
  const error = toError(thrown)
  const place = locate(error)
  const what = `${WHAT[event]} ${error.name}${place === undefined ? '' : ` at ${place}`}: ${error.message}`
  const found = culprits(error, suspects)
  if (found.length > 0) return new StrayError('PluginError', `${list(found)}: ${what}\n  ${ADVICE[event]}`, error, pipelinesOf(found))
  if (suspects.length > 0) {
    const where = `The step is unknown, since the stack contains no file of a plugin. Plugins run in ${list(suspects)}.`
    return new StrayError('PluginError', `${what}\n  ${where}\n  ${ADVICE[event]}`, error)
  }
  if (pluginsLoaded() && place !== undefined) return new StrayError('PluginError', `${what}\n  ${ADVICE[event]}`, error)
  const stack = error.stack === undefined ? '' : ` Its stack:\n${error.stack}`
  return new StrayError(error.name, `${what}\n  No plugin is involved, so this is a bug in the runner: report it.${stack}`, error)
}

const pipelinesOf = (suspects: readonly Suspect[]): readonly string[] | undefined =>
  suspects.length === 0 ? undefined : suspects.map(s => s.pipeline)

const list = (suspects: readonly Suspect[]): string =>
  suspects.map(({ step }) => `step '${step.name}' (${step.at.file}:${step.at.line})`).join(' or ')

/** The steps whose plugin file is innermost in the stack; otherwise those whose folder or package contains a file of the stack. */
function culprits(error: Error, suspects: readonly Suspect[]): readonly Suspect[] {
  const modules = suspects.map(suspect => ({ suspect, module: moduleOf(suspect.step.plugin) ?? '' }))
  const frames = sites(error)
  for (const { path } of frames) {
    const exact = modules.filter(({ module }) => module === path)
    if (exact.length > 0) return exact.map(m => m.suspect)
  }
  const folders = modules.map(({ suspect, module }) => ({ suspect, folder: folderOf(module) }))
  const near = folders.filter(({ folder }) => frames.some(({ path }) => isPackage(path) === isPackage(folder) && path.startsWith(folder)))
  const nearest = Math.max(...near.map(({ folder }) => folder.length))
  return near.filter(({ folder }) => folder.length === nearest).map(n => n.suspect)
}

const isPackage = (path: string): boolean => path.includes(`${sep}node_modules${sep}`)

/** The files of a plugin: its package, or its folder and subfolders outside of packages. */
function folderOf(module: string): string {
  const [inPackage] = /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(module) ?? []
  return `${inPackage ?? dirname(module)}${sep}`
}
