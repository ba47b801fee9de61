/** The loop of `runner dev`: a round per save. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, watch } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { loadPipeline } from '../../config/load.ts'
import type { Pipeline } from '../../config/model.ts'
import { isReplayable } from '../../config/traits.ts'
import { encodeJson, EnvironmentError, PipelineError } from '../../contract/plugin.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { findTests } from '../../testing/find.ts'
import { runTestFile } from '../../testing/engine.ts'
import type { TestRecord } from '../../testing/pipeline.ts'
import type { DevFlags } from '../dev.ts'
import { readRecords } from '../eval/records.ts'
import { type Live, Recent, runLive } from './live.ts'
import { replay } from './replay.ts'
import { jsonReport, textReport } from './report.ts'

/** ms. An editor writes a file in several steps. */
const SETTLE = 100
/** ms. Records arrive one by one. */
const GATHER = 300

/** @returns the exit code */
export async function develop(file: string, flags: DevFlags): Promise<number> {
  if (!existsSync(file)) throw new EnvironmentError(`${file} does not exist`)
  const session = new Session(file, flags)
  if (flags.once) return await session.once()
  return await session.watch()
}

class Session {
  private readonly file: string
  private readonly flags: DevFlags
  private readonly report
  private readonly recent: Recent
  private given: readonly TestRecord[] | undefined
  private valid: Pipeline | undefined
  private live: Live | undefined
  /** Of what is running. */
  private running = ''
  /** The last version did not start. */
  private isUnstarted = false
  private seen = ''
  /** Rounds are one after the other. */
  private queue: Promise<unknown> = Promise.resolve()
  private gathering: NodeJS.Timeout | undefined
  private replayed = -1

  constructor(file: string, flags: DevFlags) {
    this.file = file
    this.flags = flags
    this.report = flags.json ? jsonReport : textReport
    this.recent = new Recent(flags.last)
  }

  /** One round. */
  async once(): Promise<number> {
    await this.readInput()
    const code = await this.round(1000)
    if (this.isUnstarted && code === EXIT.ok) return EXIT.runtime
    if (this.live) {
      const error = await this.live.ended
      if (error) this.report.failed(error.message)
      await this.trace()
      if (error && code === EXIT.ok) return EXIT.runtime
    }
    return code
  }

  async watch(): Promise<number> {
    await this.readInput()
    const stopped = new Promise<void>(done => {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => done())
    })
    let timer: NodeJS.Timeout | undefined
    const folders = new Set([this.file, ...this.tests()].map(path => resolve(dirname(path))))
    const watchers = [...folders].map(folder =>
      watch(folder, () => {
        clearTimeout(timer)
        timer = setTimeout(() => void this.inTurn(() => this.changed()), SETTLE)
      }),
    )
    // After the watchers: a save during the first round counts, too.
    await this.inTurn(() => this.round())
    this.report.state('waiting', `waiting for changes of ${this.file}; Ctrl-C ends it`)
    await stopped
    clearTimeout(timer)
    for (const watcher of watchers) watcher.close()
    await this.queue
    await this.stop()
    return EXIT.ok
  }

  private inTurn(work: () => Promise<unknown>): Promise<unknown> {
    this.queue = this.queue.then(work).catch((error: Error) => this.report.failed(error.message))
    return this.queue
  }

  private async readInput(): Promise<void> {
    if (this.flags.input === undefined) return
    const messages = await readRecords({ input: this.flags.input })
    this.given = messages.slice(-this.flags.last).map(m => ({ payload: encodeJson(m.value), time: m.time }))
  }

  private tests(): string[] {
    return findTests(this.file) ?? []
  }

  private async changed(): Promise<void> {
    if (this.fingerprint() !== this.seen) await this.round()
  }

  /** Of the file and its tests: a folder reports other files, too. */
  private fingerprint(): string {
    const hash = createHash('sha256')
    for (const path of [this.file, ...this.tests()])
      hash.update(`${basename(path)}\0${existsSync(path) ? readFileSync(path, 'utf8') : ''}\0`)
    return hash.digest('hex')
  }

  /** @param untilIdle ends the reading of samples after this silence, ms @returns the exit code of `--once` */
  private async round(untilIdle?: number): Promise<number> {
    this.seen = this.fingerprint()
    const { pipeline, problems } = await loadPipeline(this.file, { env: process.env, set: this.flags.set })
    if (!pipeline) {
      await this.report.invalid(problems, this.valid !== undefined)
      return problems.some(p => p.code === 'CONFIG_READ') ? EXIT.environment : EXIT.config
    }
    this.valid = pipeline
    await this.report.valid(this.file, problems)
    const code = await this.runTests()
    await this.start(pipeline, untilIdle)
    if (untilIdle === undefined || !this.live) await this.trace()
    return code
  }

  private async runTests(): Promise<number> {
    let code: number = EXIT.ok
    for (const test of this.tests()) {
      const result = await runTestFile(test, {
        repeat: 1,
        restTimeout: 10_000,
        load: (file, { env, set }) => loadPipeline(file, { env, set: set.map(s => s.argument) }),
      })
      await this.report.tests(result)
      if (result.problems.length > 0) code = EXIT.config
      else if (code === EXIT.ok && result.results.some(r => r.failures.length > 0)) code = EXIT.verdict
    }
    return code
  }

  /** With `--sinks`, each valid version replaces the one before; otherwise only other sources are read again. */
  private async start(pipeline: Pipeline, untilIdle: number | undefined): Promise<void> {
    const sinks = this.flags.sinks === true
    if (sinks && !this.flags.once && pipeline.sources.some(s => s.type === 'stdin'))
      return this.report.failed('standard input cannot be read again after an edit: leave out --sinks, or read a file (--once works)')
    if (this.given && !sinks) return
    const wanted = sinks ? this.seen : JSON.stringify(pipeline.sources.map(s => [s.name, s.type, s.config]))
    if (this.running === wanted) return
    await this.stop()
    this.running = wanted
    this.isUnstarted = false
    try {
      this.live = await runLive(pipeline, { sinks, recent: this.recent, untilIdle, onRecords: () => this.gather() })
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error
      this.running = ''
      this.isUnstarted = true
      return this.report.failed(error.message)
    }
    const lost = pipeline.sources.filter(s => !isReplayable(s)).map(s => s.name)
    this.report.state(
      'started',
      sinks
        ? `${pipeline.name} runs: it writes to its sinks and commits positions`
        : `reads samples from ${pipeline.sources.map(s => s.name).join(', ')}: nothing is written, and no position is committed${lost.length > 0 ? `; records that ${lost.join(', ')} receives now are not kept` : ''}`,
      { sinks },
    )
    const { live } = this
    void live.ended.then(error => {
      if (this.live !== live) return
      if (error) {
        this.running = ''
        if (untilIdle === undefined) this.report.failed(error.message)
      } else if (untilIdle === undefined) this.report.state('ended', 'the input has ended')
    })
  }

  /** A run that is replaced has not come to its end. */
  private async stop(): Promise<void> {
    const former = this.live
    this.live = undefined
    await former?.stop()
  }

  /** After a burst of records. */
  private gather(): void {
    if (this.flags.once || this.gathering) return
    this.gathering = setTimeout(() => {
      this.gathering = undefined
      void this.inTurn(() => (this.recent.total === this.replayed ? Promise.resolve() : this.trace()))
    }, GATHER)
    this.gathering.unref()
  }

  private async trace(): Promise<void> {
    const records = this.given ?? this.recent.records
    if (!this.valid || records.length === 0) return
    this.replayed = this.recent.total
    const names = new Set(this.valid.sources.map(s => s.name))
    const of = records.map(r => (r.source === undefined || names.has(r.source) ? r : { ...r, source: undefined }))
    try {
      this.report.trace(await replay(this.valid, of))
    } catch (error) {
      this.report.failed(`the samples do not run through the steps: ${(error as Error).message}`)
    }
  }
}
