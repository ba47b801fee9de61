/** From the command line to an open dlq. */
import { EXIT, exitCodeOf } from '../../kit/exit-codes.ts'
import { EnvironmentError, type DeadLetterReader, type Logger } from '../../contract/plugin.ts'
import { markLane, openMarkStore, type MarkStore, quietContext, type WithDlq } from '../../dead-letters/mark-store.ts'
import { type Marks, readMarks } from '../../dead-letters/marks.ts'
import type { Selection } from '../../dead-letters/select.ts'
import type { DeadLetterLane } from '../../contract/plugin.ts'
import { loadPipeline, loadText } from '../../config/load.ts'
import type { SelectFlags } from '../dlq.ts'
import { reportProblems } from '../load.ts'

/** What is wrong with the command line or the file: exit code 2. */
export class UsageError extends Error {}

/** Runs a command; errors become a line on stderr and an exit code. */
export async function guarded(run: () => Promise<number>): Promise<number> {
  try {
    return await run()
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    return error instanceof UsageError ? EXIT.config : exitCodeOf(error)
  }
}

/** The pipeline of a file, or one that is nothing but this topic's dlq. */
export async function loadWithDlq(file: string | undefined, { topic, set }: Pick<SelectFlags, 'topic' | 'set'>): Promise<WithDlq> {
  if ((file === undefined) === (topic === undefined)) throw new UsageError('give a pipeline file, or --topic')
  const name = JSON.stringify(topic)
  const bare = `name: dlq\nsources: [{ stdin: {} }]\nsinks: [{ stdout: {} }]\ndlq: { kafka: { topic: ${name} } }`
  const { pipeline, problems } = file === undefined ? await loadText('--topic', bare) : await loadPipeline(file, { env: process.env, set })
  if (!pipeline) {
    const ErrorClass = (await reportProblems(problems)) === EXIT.environment ? EnvironmentError : UsageError
    throw new ErrorClass(file === undefined ? `${topic} cannot be read as a dlq` : `${file} cannot be used as it is`)
  }
  const { dlq } = pipeline
  if (!dlq) throw new UsageError(`${file} has no dlq (or it is switched off)`)
  if (!dlq.plugin.readDeadLetters) throw new UsageError(`the dlq of ${file} is ${dlq.type}: what was written there cannot be read back`)
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
  if (wrong !== undefined) throw new UsageError(`${wrong} is no dead letter's id; ls prints them: partition/offset, like 0/17`)
  const { step, errorType, key, contains, since, until } = flags
  return { ids, step, errorType, key, contains, since, until, pipeline: flags.pipeline ?? pipeline }
}

/** Tells what is done, of any pipeline whose letters lie in the dlq, without disturbing a replay that runs. */
export class DoneBy {
  private readonly pipeline: WithDlq
  private readonly own: boolean
  private readonly log: Logger
  private readonly markStores = new Map<string, MarkStore>()
  private readonly marks = new Map<string, Promise<Marks | undefined>>()

  /** `own`: the pipeline is that of a file, which marks all that it replays under its own name. */
  constructor(pipeline: WithDlq, own: boolean, log: Logger) {
    this.own = own
    this.pipeline = pipeline
    this.log = log
  }

  /** Undefined: nobody can tell, as the store does not let look on. */
  of(failed: string, lane: DeadLetterLane): Promise<Marks | undefined> {
    const name = this.own ? this.pipeline.name : failed
    const id = `${name}\0${lane.id}`
    let marks = this.marks.get(id)
    if (!marks) this.marks.set(id, (marks = this.read(name, lane)))
    return marks
  }

  async close(): Promise<void> {
    for (const { store } of this.markStores.values()) await store.close()
  }

  private async read(name: string, lane: DeadLetterLane): Promise<Marks | undefined> {
    let place = this.markStores.get(name)
    if (!place) this.markStores.set(name, (place = openMarkStore({ ...this.pipeline, name }, quietContext(this.log))))
    const { store } = place
    if (!store.peek) return undefined
    const marks = readMarks(await store.peek(markLane(lane.id, this.pipeline.dlq.name)))
    marks.fit(lane.to)
    return marks
  }
}
