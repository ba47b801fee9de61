/** `runner dlq ls`. */
import { EXIT } from '../../kit/exit-codes.ts'
import { note, print, printJson, verbose } from '../output.ts'
import { table } from '../table.ts'
import { timeText } from '../time-text.ts'
import { failureTime, type DeadLetter } from '../../kit/dead-letter/read.ts'
import type { Column } from '../../kit/text/columns.ts'
import { grouped } from '../../kit/text/grouped.ts'
import { cut } from '../../kit/text/printable.ts'
import { scan } from '../../dead-letters/scan.ts'
import { selector } from '../../dead-letters/select.ts'
import { EnvironmentError, keyTextOf } from '../../contract/plugin.ts'
import { silentLogger } from '../../runtime/telemetry/log.ts'
import type { SelectFlags } from '../dlq.ts'
import { DoneBy, guarded, loadWithDlq, openDeadLetters, selectionOf } from './open.ts'

interface Row {
  readonly letter: DeadLetter
  readonly done: boolean
  /** Epoch ms to sort by: the time of the failure, but never earlier than that of the previous dead letter. */
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
            // Only the oldest dead letters are kept in memory.
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
      printJson({ dlq: box.what, open: counts.open, done: counts.done, unknown: done.unknown, counts: by, letters: rows.map(toJson) })
    } else {
      print(toTable(rows))
      note(summary(rows, counts, box.what, flags.all === true, done.unknown))
    }
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
    key: letter.key && keyTextOf(letter.key),
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

const COLUMNS: readonly Column[] = [
  { head: 'ID', kind: 'id' },
  { head: 'FAILED AT', kind: 'id' },
  { head: 'SOURCE' },
  { head: 'STEP' },
  { head: 'ERROR' },
  { head: 'MESSAGE' },
  { head: 'KEY' },
]

function toTable(rows: readonly Row[]): string {
  if (rows.length === 0) return ''
  // Texts of records can be long: only --verbose prints them whole.
  const short = (text: string, width: number): string => cut(text, verbose() ? Number.POSITIVE_INFINITY : width)
  const lines = rows.map(({ letter, done }) => {
    const { failure: d } = letter
    const times = d && d.attempts > 1 ? ` (${d.attempts}x)` : ''
    return [
      `${letter.id}${done ? ' done' : ''}`,
      timeText(failureTime(letter)),
      d && d.offset >= 0 ? short(`${d.topic}/${d.partition}/${d.offset}`, 60) : '-',
      short(d?.step ?? '-', 40),
      short(d?.errorType ?? 'not a dead letter', 40) + times,
      (d && d.unreadable.length > 0 ? `unreadable: ${d.unreadable.join(', ')}; ` : '') + short(d?.message ?? '', 60),
      short((letter.key && keyTextOf(letter.key)) ?? '-', 24),
    ]
  })
  return `${table(COLUMNS, lines)}\n`
}

function summary(
  rows: readonly Row[],
  counts: { open: number; done: number; others: number; by: ReadonlyMap<string, number> },
  what: string,
  all: boolean,
  unknown: readonly string[],
): string {
  const total = counts.open + (all ? counts.done : 0)
  const more = total - rows.length
  const by = ranked(counts.by).map(([id, n]) => `  ${grouped(n).padStart(9)}  ${cut(id.replace('\0', ': '), 80)}`)
  return [
    `${what}: ${grouped(counts.open)} to do${counts.done > 0 ? `, ${grouped(counts.done)} done${all ? '' : ' (--all shows them)'}` : ''}`,
    ...by,
    ...(unknown.length > 0
      ? [
          `cannot determine which dead letters of ${unknown.map(name => cut(name, 40)).join(', ')} are done: run runner dlq ls with the pipeline file`,
        ]
      : []),
    ...(more > 0 && rows.length > 0 ? [`${grouped(more)} more (--max)`] : []),
    '',
  ].join('\n')
}
