import type { Driver } from '../../connectors/kafka/driver.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { PipelineError } from '../../contract/plugin.ts'
import { readFile } from 'node:fs/promises'
import { loadPipeline } from '../../config/load.ts'
import type { Problem } from '../../config/model.ts'
import { type Catalog, internalTopics, loadCatalog } from '../../operations/catalog.ts'
import { connectLog } from '../../operations/connection.ts'
import { type Change, plan } from '../../operations/plan.ts'
import { commandExit } from '../command.ts'
import { outcomeLine, print, printError, printJson, usageError } from '../output.ts'
import { table } from '../table.ts'
import { reportProblems } from '../load.ts'
import type { PlanFlags } from '../topics.ts'
import { findFiles } from '../validate/files.ts'

/** @returns the exit code. */
export async function planTopics(paths: readonly string[], flags: PlanFlags): Promise<number> {
  const catalogs = await load(paths)
  if (typeof catalogs === 'number') return catalogs
  const { driver, release } = await connectLog(flags.brokers)
  try {
    const changes = await plan(driver, catalogs, flags)
    if (flags.json) printJson({ log: driver.scope, changes: changes.map(plain) })
    else print(changes.length === 0 ? `${driver.scope} matches the catalogs\n` : toTable(changes))
    return EXIT.ok
  } finally {
    await release()
  }
}

/** If one change is rejected, none is made. Otherwise each change is made separately, in the order of the plan; a failure does not stop the others. @returns the exit code. */
export async function applyTopics(paths: readonly string[], flags: PlanFlags): Promise<number> {
  const catalogs = await load(paths)
  if (typeof catalogs === 'number') return catalogs
  const { driver, release } = await connectLog(flags.brokers)
  try {
    const changes = await plan(driver, catalogs, flags)
    const rejected = changes.filter(c => c.action === 'refuse')
    const taken = changes.filter(c => c.action === 'delete' || c.action === 'revoke')
    const unconfirmed = taken.length > 0 && !flags.yes
    const done = rejected.length === 0 && !unconfirmed
    const { made, failed } = await make(done ? changes : [], driver)
    if (flags.json) printJson({ log: driver.scope, applied: done && failed.length === 0, changes: changes.map(plain), ...errorsOf(failed) })
    else print(changes.length === 0 ? `${driver.scope} matches the catalogs\n` : toTable(changes))
    if (rejected.length > 0) printError(`nothing was changed: ${rejected.map(c => `${c.subject}: ${c.note}`).join('\n')}`)
    else if (unconfirmed)
      printError(`nothing was changed: ${taken.length} of these are permanent deletions; to make the changes, add --yes`)
    else if (!flags.json && changes.length > 0)
      print(outcomeLine(failed.length > 0 ? 'warning' : 'ok', `${made} change(s) made in ${driver.scope}`))
    for (const { change, error } of failed) printError(`${change.subject}: ${error.message}`)
    if (failed.length > 0) return commandExit(failed[0].error)
    return done ? EXIT.ok : EXIT.verdict
  } finally {
    await release()
  }
}

interface Failed {
  readonly change: Change
  readonly error: PipelineError
}

async function make(changes: readonly Change[], driver: Driver): Promise<{ made: number; failed: Failed[] }> {
  const failed: Failed[] = []
  let made = 0
  for (const change of changes) {
    if (!change.apply) continue
    try {
      await change.apply(driver)
      made++
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error
      failed.push({ change, error })
      // Without brokers the others would fail as well, each after a long wait.
      if (error.retryable) break
    }
  }
  return { made, failed }
}

const errorsOf = (failed: readonly Failed[]): object =>
  failed.length === 0 ? {} : { failed: failed.map(({ change, error }) => ({ subject: change.subject, error: error.message })) }

/** The catalogs; or the exit code if they have problems, which are printed. */
async function load(paths: readonly string[]): Promise<Catalog[] | number> {
  const loaded = await Promise.all((await findFiles(paths)).map(loadTopics))
  const problems = loaded.flatMap(l => l.problems)
  if (problems.some(p => p.severity === 'error')) return await reportProblems(problems)
  const catalogs = loaded.map(l => l.catalog!)
  const clash = clashOf(catalogs)
  if (clash === undefined) return catalogs
  return usageError(clash)
}

/** A catalog, or the internal topics of a pipeline file. */
async function loadTopics(file: string): Promise<{ catalog?: Catalog; problems: readonly Problem[] }> {
  const text = await readFile(file, 'utf8').catch(() => '')
  if (!/^sources[ \t]*:/m.test(text) || /^topics[ \t]*:/m.test(text)) return loadCatalog(file)
  const { pipeline, problems } = await loadPipeline(file)
  return { catalog: pipeline && internalTopics(pipeline), problems: problems.filter(p => p.severity === 'error') }
}

/** Several catalogs may have the same topic if its settings are the same. */
function clashOf(catalogs: readonly Catalog[]): string | undefined {
  const seen = new Map<string, { file: string; text: string }>()
  for (const { file, topics } of catalogs) {
    for (const topic of topics) {
      const text = JSON.stringify([topic.partitions, topic.replication, Object.entries(topic.config).sort()])
      const before = seen.get(topic.name)
      if (before && before.text !== text)
        return `topic ${topic.name} has different settings in ${before.file} and ${file}; make them equal, or apply the files one by one`
      seen.set(topic.name, { file, text })
    }
  }
  return undefined
}

const plain = ({ action, subject, what, from, to, note }: Change): object => ({
  action,
  subject,
  what,
  from,
  to,
  ...(note === undefined ? {} : { note }),
})

const toTable = (changes: readonly Change[]): string =>
  table(
    ['ACTION', 'SUBJECT', 'WHAT', 'NOW', 'WANTED', 'NOTE'].map(head => ({ head })),
    changes.map(c => [c.action, c.subject, c.what, c.from ?? '', c.to ?? '', c.note ?? '']),
  )
