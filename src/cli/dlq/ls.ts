/** `runner dlq ls`. */
import { styleText } from 'node:util'
import { EXIT } from '../../kit/exit-codes.ts'
import { print } from '../command.ts'
import { failureTime, type DeadLetter } from '../../kit/dead-letter/read.ts'
import { cut } from '../../kit/text/printable.ts'
import { scan } from '../../dead-letters/scan.ts'
import { selector } from '../../dead-letters/select.ts'
import { EnvironmentError } from '../../contract/plugin.ts'
import { silentLogger } from '../../runtime/telemetry/log.ts'
import type { SelectFlags } from '../dlq.ts'
import { DoneBy, guarded, loadWithDlq, openDeadLetters, selectionOf } from './open.ts'

interface Row {
  readonly letter: DeadLetter
  readonly done: boolean
  /** Epoch ms to sort by: of the failure, but never before that of the dead letter in front of it. */
  readonly order: number
}

export function ls(file: string | undefined, flags: SelectFlags & { max: number; all?: boolean }): Promise<number> {
  return guarded(async () => {
    const pipeline = await loadWithDlq(file, flags)
    const wanted = selector(selectionOf(flags, file === undefined ? undefined : pipeline.name))
    const box = await openDeadLetters(pipeline, silentLogger)
    const done = new DoneBy(pipeline, file !== undefined, silentLogger)
    const rows: Row[] = []
    const counts = { open: 0, done: 0, others: 0, by: new Map<string, number>() }
    try {
      const lanes = await box.lanes()
      if (lanes.length === 0 && flags.topic !== undefined) throw new EnvironmentError(`there is no ${box.what}`)
      for (const lane of lanes) {
        let order = 0
        for await (const page of scan(box, lane, 0)) {
          for (const { letter } of page) {
            order = Math.max(order, failureTime(letter))
            if (!wanted(letter)) {
              counts.others++
              continue
            }
            const isDone = await done.has(letter, lane)
            counts[isDone ? 'done' : 'open']++
            if (isDone && !flags.all) continue
            const what = letter.failure ? `${letter.failure.step}\0${letter.failure.errorType}` : '\0not a dead letter'
            counts.by.set(what, (counts.by.get(what) ?? 0) + 1)
            // Only the oldest ones are kept, however many there are.
            if (lanes.length > 1 || rows.length < flags.max) rows.push({ letter, done: isDone, order })
            if (rows.length > flags.max + 1000) trim(rows, flags.max)
          }
        }
      }
    } finally {
      await done.close()
      await box.close()
    }
    trim(rows, flags.max)
    if (flags.json) {
      const by = ranked(counts.by).map(([what, count]) => ({ step: what.split('\0')[0], error_type: what.split('\0')[1], count }))
      print(
        `${JSON.stringify({ dlq: box.what, open: counts.open, done: counts.done, unknown: done.unknown, counts: by, letters: rows.map(toJson) }, null, 2)}\n`,
      )
    } else print(table(rows, counts, box.what, flags.all === true, done.unknown))
    return EXIT.ok
  })
}

function trim(rows: Row[], max: number): void {
  rows.sort((a, b) => a.order - b.order)
  rows.length = Math.min(rows.length, max)
}

/** Most frequent first. */
const ranked = (by: ReadonlyMap<string, number>): [string, number][] => [...by].toSorted(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))

export function toJson({ letter, done }: Omit<Row, 'order'>): object {
  const { failure: d } = letter
  return {
    id: letter.id,
    done,
    key: letter.key?.toString() ?? null,
    size: letter.payload?.length ?? null,
    time: new Date(letter.time).toISOString(),
    ...(d && {
      failed_at: d.failedAt ?? null,
      first_failed_at: d.firstFailedAt ?? d.failedAt ?? null,
      attempts: d.attempts,
      source: { topic: d.topic, partition: d.partition, offset: d.offset },
      pipeline: d.pipeline,
      step: d.step,
      config_location: d.location,
      error_type: d.errorType,
      error_message: d.message,
      source_type: d.sourceType ?? null,
      ...(d.unreadable.length > 0 && { unreadable: d.unreadable }),
    }),
  }
}

const HEADS = ['id', 'failed at', 'source', 'step', 'error', 'message', 'key'] as const

function table(
  rows: readonly Row[],
  counts: { open: number; done: number; others: number; by: ReadonlyMap<string, number> },
  what: string,
  all: boolean,
  unknown: readonly string[],
): string {
  const lines = rows.map(({ letter, done }) => {
    const { failure: d } = letter
    const source = d && d.offset >= 0 ? cut(`${d.topic}/${d.partition}/${d.offset}`, 60) : '-'
    const times = d && d.attempts > 1 ? ` (${d.attempts}x)` : ''
    return [
      `${letter.id}${done ? ' done' : ''}`,
      new Date(failureTime(letter)).toISOString().slice(0, 19).concat('Z'),
      source,
      cut(d?.step ?? '-', 40),
      cut(d?.errorType ?? 'not a dead letter', 40) + times,
      (d && d.unreadable.length > 0 ? `unreadable: ${d.unreadable.join(', ')}; ` : '') + cut(d?.message ?? '', 60),
      cut(letter.key?.toString() ?? '-', 24),
    ]
  })
  const widths = HEADS.map((head, i) => Math.max(head.length, ...lines.map(cells => cells[i].length)))
  const row = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]))
      .join('  ')
      .trimEnd()
  const total = counts.open + (all ? counts.done : 0)
  const more = total - rows.length
  const by = ranked(counts.by).map(([id, n]) => `  ${String(n).padStart(7)}  ${cut(id.replace('\0', ': '), 80)}`)
  return [
    ...(lines.length > 0 ? [styleText('bold', row(HEADS)), ...lines.map(row), ''] : []),
    `${what}: ${counts.open} to do${counts.done > 0 ? `, ${counts.done} done${all ? '' : ' (--all shows them)'}` : ''}`,
    ...by,
    ...(unknown.length > 0
      ? [
          `what is done is not known of ${unknown.map(name => cut(name, 40)).join(', ')}: runner dlq ls with the file, which says where replays are noted`,
        ]
      : []),
    ...(more > 0 && rows.length > 0 ? [`${more} more (--max)`] : []),
    '',
  ].join('\n')
}
