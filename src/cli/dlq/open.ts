/** Opens the dlq that the command line names. */
import { EXIT, exitCodeOf } from '../../kit/exit-codes.ts'
import { EnvironmentError, type DeadLetterReader, type Logger } from '../../contract/plugin.ts'
import { markLane, openMarkStore, type MarkStore, quietContext, type WithDlq } from '../../dead-letters/mark-store.ts'
import { type Marks, readMarks } from '../../dead-letters/marks.ts'
import type { DeadLetter } from '../../kit/dead-letter/read.ts'
import type { Selection } from '../../dead-letters/select.ts'
import type { DeadLetterLane } from '../../contract/plugin.ts'
import { loadPipeline, loadText } from '../../config/load.ts'
import type { SelectFlags } from '../dlq.ts'
import { reportProblems } from '../load.ts'
import { errorText, printError } from '../output.ts'

/** A mistake in the command line or the file: exit code 2. */
export class UsageError extends Error {}

/** Runs a command; errors become a line on stderr and an exit code. */
export async function guarded(run: () => Promise<number>): Promise<number> {
  try {
    return await run()
  } catch (error) {
    printError(errorText(error))
    return error instanceof UsageError ? EXIT.config : exitCodeOf(error)
  }
}

/**
 * The pipeline of a file, or a pipeline with only this topic as its dlq.
 * @param look the dlq is only read and marked: `enabled` of the dlq and of the sources is ignored
 */
export async function loadWithDlq(
  file: string | undefined,
  { topic, set }: Pick<SelectFlags, 'topic' | 'set'>,
  look = true,
): Promise<WithDlq> {
  if ((file === undefined) === (topic === undefined)) throw new UsageError('write a pipeline file or --topic, not both')
  const name = JSON.stringify(topic)
  const bare = `name: dlq\nsources: [{ stdin: {} }]\nsinks: [{ stdout: {} }]\ndlq: { kafka: { topic: ${name} } }`
  const options = { env: process.env, set, forDlq: look }
  const { pipeline, problems } = file === undefined ? await loadText('--topic', bare) : await loadPipeline(file, options)
  if (!pipeline) {
    const ErrorClass = (await reportProblems(problems)) === EXIT.environment ? EnvironmentError : UsageError
    throw new ErrorClass(file === undefined ? `${topic} cannot be read as a dlq` : `${file} cannot be used as it is`)
  }
  const { dlq } = pipeline
  if (!dlq && !look && (await loadPipeline(file!, { ...options, forDlq: true })).pipeline?.dlq)
    throw new UsageError(
      `the dlq of ${file} is switched off (dlq.enabled): a record that fails again would be lost. Switch it on, or add --set dlq.enabled=true`,
    )
  if (!dlq) throw new UsageError(`${file} has no dlq`)
  if (!dlq.plugin.readDeadLetters) throw new UsageError(`the dlq of ${file} is ${dlq.type}: dead letters cannot be read back from it`)
  return { ...pipeline, dlq }
}

/** @throws {EnvironmentError} also when the peer does not answer. */
export async function openDeadLetters({ dlq }: WithDlq, log: Logger): Promise<DeadLetterReader> {
  try {
    return await dlq.plugin.readDeadLetters!(dlq.config, { log })
  } catch (error) {
    throw error instanceof EnvironmentError ? error : new EnvironmentError((error as Error).message, error)
  }
}

export function selectionOf(flags: SelectFlags, pipeline: string | undefined, ids: readonly string[] = []): Selection {
  const wrong = ids.find(id => !/^\d+\/\d+$/.test(id))
  if (wrong !== undefined)
    throw new UsageError(`${wrong} is not the id of a dead letter: write partition/offset as printed by ls, such as 0/17`)
  const { step, errorType, key, contains, since, until } = flags
  return { ids, step, errorType, key, contains, since, until, pipeline: flags.pipeline ?? pipeline }
}

/** The dead letters that are done, of every pipeline in the dlq. Does not disturb a running replay. */
export class DoneBy {
  private readonly pipeline: WithDlq
  private readonly own: boolean
  private readonly log: Logger
  private readonly markStores = new Map<string, MarkStore>()
  private readonly marks = new Map<string, Promise<Marks>>()
  private readonly names = new Set<string>()
  private readonly known = new Set<string>()

  /** `own`: the pipeline of a file, which marks everything that it replays under its own name. */
  constructor(pipeline: WithDlq, own: boolean, log: Logger) {
    this.own = own
    this.pipeline = pipeline
    this.log = log
  }

  async has(letter: DeadLetter, lane: DeadLetterLane): Promise<boolean> {
    const name = this.own ? this.pipeline.name : letter.failure?.pipeline
    return name !== undefined && (await this.of(name, lane)).has(letter.offset)
  }

  /** Pipelines without marks in the places searched: nothing was replayed, or the marks are elsewhere. */
  get unknown(): string[] {
    return [...this.names].filter(name => !this.known.has(name))
  }

  async close(): Promise<void> {
    for (const { store } of this.markStores.values()) await store.close()
  }

  private of(name: string, lane: DeadLetterLane): Promise<Marks> {
    const id = `${name}\0${lane.id}`
    let marks = this.marks.get(id)
    if (!marks) this.marks.set(id, (marks = this.read(name, lane)))
    return marks
  }

  private async read(name: string, lane: DeadLetterLane): Promise<Marks> {
    this.names.add(name)
    let place = this.markStores.get(name)
    if (!place) this.markStores.set(name, (place = openMarkStore({ ...this.pipeline, name }, quietContext(this.log))))
    const { store } = place
    const checkpoint = await store.peek?.(markLane(lane.id, this.pipeline.dlq.name))
    // A file decides where its marks are: without marks there, nothing is done.
    if (checkpoint || (this.own && store.peek)) this.known.add(name)
    const marks = readMarks(checkpoint)
    marks.fit(lane.to)
    return marks
  }
}
