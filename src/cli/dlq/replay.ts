/** `runner dlq replay` and `runner dlq discard`. */
import { EXIT } from '../../kit/exit-codes.ts'
import { grouped } from '../../kit/text/grouped.ts'
import { discard } from '../../dead-letters/discard.ts'
import { replay, type ReplayResult } from '../../dead-letters/replay.ts'
import { isNarrow, selector } from '../../dead-letters/select.ts'
import { FencedError } from '../../contract/plugin.ts'
import { createLogger } from '../../runtime/telemetry/log.ts'
import type { ReplayFlags, SelectFlags } from '../dlq.ts'
import { logLook, print, printError, printJson, verbose } from '../output.ts'
import { guarded, loadWithDlq, openDeadLetters, selectionOf, UsageError } from './open.ts'

const OVERTAKEN =
  'fenced: another replay or discard of this dlq has started. The work of this command so far is kept; the other command does the rest'

export function replayCommand(file: string, ids: readonly string[], flags: ReplayFlags): Promise<number> {
  return guarded(async () => {
    const pipeline = await loadWithDlq(file, flags, false)
    const selection = selectionOf(flags, pipeline.name, ids)
    if (flags.to === 'source' && !pipeline.sources.some(s => s.plugin.writeBack))
      throw new UsageError(`the sources of ${file} cannot be written to (${pipeline.sources.map(s => s.type).join(', ')}): write --to step`)
    if (flags.to === 'step' && pipeline.sinks.length === 0)
      throw new UsageError(`every sink of ${file} is switched off: the records would be marked as replayed and written nowhere`)
    const log = await createLogger({
      level: flags.logLevel ?? (verbose() ? 'debug' : 'warn'),
      pretty: process.stderr.isTTY === true,
      ...logLook(),
    })
    const box = await openDeadLetters(pipeline, log)
    const lines: string[] = []
    const run = replay({
      pipeline,
      box,
      way: flags.to,
      select: selector(selection),
      freshState: flags.freshState === true,
      rate: flags.rate,
      max: flags.max,
      dryRun: flags.dryRun ? line => void (flags.json ? lines.push(line) : process.stdout.write(`${line}\n`)) : undefined,
      log,
    })
    const stop = (): void => run.stop()
    process.on('SIGINT', stop).on('SIGTERM', stop)
    try {
      const result = await run.run()
      if (flags.json) printJson(asJson(result, flags.dryRun ? lines : undefined))
      else print(asText(result, flags))
      const met = result.replayed + [...result.left.values()].reduce((n, m) => n + m, 0)
      if (missing(ids, met)) return EXIT.verdict
      return result.failed > 0 || result.left.size > 0 ? EXIT.verdict : EXIT.ok
    } catch (error) {
      if (error instanceof FencedError) throw new Error(OVERTAKEN, { cause: error })
      throw error
    } finally {
      process.off('SIGINT', stop).off('SIGTERM', stop)
      await box.close()
    }
  })
}

export function discardCommand(
  file: string,
  ids: readonly string[],
  flags: SelectFlags & { readonly yes?: boolean; readonly all?: boolean },
): Promise<number> {
  return guarded(async () => {
    const pipeline = await loadWithDlq(file, flags)
    const selection = selectionOf(flags, pipeline.name, ids)
    if (!isNarrow(selection) && !flags.all) throw new UsageError('specify what to discard: ids, a filter, or --all')
    const log = await createLogger({ level: 'warn', pretty: process.stderr.isTTY === true, ...logLook() })
    const box = await openDeadLetters(pipeline, log)
    try {
      const count = await discard({ pipeline, box, select: selector(selection), dry: !flags.yes, log })
      if (flags.json) process.stdout.write(`${JSON.stringify({ discarded: flags.yes ? count : 0, matching: count })}\n`)
      else print(flags.yes ? `discarded ${grouped(count)}\n` : `would discard ${grouped(count)}; --yes does it\n`)
      return missing(ids, count) ? EXIT.verdict : EXIT.ok
    } catch (error) {
      if (error instanceof FencedError) throw new Error(OVERTAKEN, { cause: error })
      throw error
    } finally {
      await box.close()
    }
  })
}

function missing(ids: readonly string[], met: number): boolean {
  const count = new Set(ids).size - met
  if (count > 0) printError(`${count} of the ids are not in the dlq, are done, or do not match the filters`)
  return count > 0
}

const asJson = ({ replayed, failed, left }: ReplayResult, lines: readonly string[] | undefined): object => ({
  replayed: lines ? 0 : replayed,
  ...(lines && { would_replay: replayed, outputs: lines }),
  failed_again: failed,
  left: [...left].map(([reason, count]) => ({ reason, count })),
})

function asText({ replayed, failed, left }: ReplayResult, { dryRun }: ReplayFlags): string {
  const stay = [...left].map(([reason, count]) => `  ${grouped(count)} left: ${reason}\n`).join('')
  const again =
    failed > 0 ? (dryRun ? `, ${failed} of them would fail again` : `, ${failed} of them failed again and are in the dlq again`) : ''
  return `${dryRun ? 'would replay' : 'replayed'} ${grouped(replayed)}${again}\n${stay}`
}
