/** `runner dlq show`. */
import { DLQ_HEADERS } from '../../kit/dead-letter/headers.ts'
import { isUtf8 } from 'node:buffer'
import { EXIT } from '../../kit/exit-codes.ts'
import { type DeadLetter, readDeadLetter } from '../../kit/dead-letter/read.ts'
import { hexDump, oneLine, printable } from '../../kit/text/printable.ts'
import { headerTextOf, type Message, parseJson } from '../../contract/plugin.ts'
import { silentLogger } from '../../runtime/telemetry/log.ts'
import type { SelectFlags } from '../dlq.ts'
import { paint, print, printError, printJson } from '../output.ts'
import { toJson } from './ls.ts'
import { DoneBy, guarded, loadWithDlq, openDeadLetters, selectionOf, UsageError } from './open.ts'

export function show(args: readonly string[], flags: SelectFlags & { raw?: boolean }): Promise<number> {
  return guarded(async () => {
    const [file, id] = args.length > 1 ? args : [undefined, args[0]]
    if (args.length > 2) throw new UsageError('write one pipeline file and one id')
    selectionOf(flags, undefined, [id])
    const pipeline = await loadWithDlq(file, flags)
    const box = await openDeadLetters(pipeline, silentLogger)
    const doneBy = new DoneBy(pipeline, file !== undefined, silentLogger)
    try {
      const [partition, offset] = id.split('/').map(Number)
      const lane = (await box.lanes()).find(l => l.partition === partition)
      const { messages } = lane && offset >= lane.from ? await box.read(lane, offset) : { messages: [] }
      const record = messages.find(m => m.offset === offset)
      if (!lane || !record) {
        printError(`there is no dead letter ${id} in ${box.what}`)
        return EXIT.verdict
      }
      const letter = readDeadLetter(record, partition)
      const done = await doneBy.has(letter, lane)
      if (flags.raw) process.stdout.write(letter.payload ?? '')
      else if (flags.json) printJson(asJson(letter, done, record))
      else print(asText(letter, done, record))
      return EXIT.ok
    } finally {
      await doneBy.close()
      await box.close()
    }
  })
}

function asJson(letter: DeadLetter, done: boolean, record: Message): object {
  const { failure: d, payload } = letter
  const text = payload === null || isUtf8(payload)
  return {
    ...toJson({ letter, done }),
    headers: (record.headers ?? []).map(([name, value]) => [name, headerTextOf(value)]),
    ...(text ? { value: payload?.toString() ?? null } : { value_base64: payload.toString('base64') }),
    ...(d?.stepInput !== undefined && { step_input: parseJson(d.stepInput) }),
    ...(d?.stepKey !== undefined && { step_key: d.stepKey }),
    ...(d?.cutFrom !== undefined && { original_size: d.cutFrom }),
  }
}

function asText(letter: DeadLetter, done: boolean, record: Message): string {
  const { failure: d, payload } = letter
  const head = (text: string): string => paint('bold', text)
  const all = record.headers ?? []
  const own = all.slice(letter.headers.length)
  const width = Math.max(0, ...all.map(([name]) => name.length))
  const line = ([name, value]: readonly [string, Buffer | string | null]): string =>
    `  ${oneLine(name).padEnd(width)}  ${printable(headerTextOf(value) ?? '(null)')}`
  const cutNote = d?.cutFrom === undefined ? '' : `, the first ${payload?.length ?? 0} of ${d.cutFrom} bytes`
  return [
    head(`${letter.id}${done ? ', done' : ''}`),
    ...(d
      ? [`  ${oneLine(`${d.errorType} in step ${d.step} (${d.location}): ${d.message}`)}`]
      : ['  not a dead letter of a runner: it has none of their headers']),
    ...(d && d.unreadable.length > 0 ? [`  unreadable: ${d.unreadable.join(', ')}; the record cannot be replayed`] : []),
    '',
    ...(letter.headers.length > 0 ? [head('headers of the record'), ...letter.headers.map(line), ''] : []),
    ...(own.length > 0 ? [head('headers of the failure'), ...own.filter(([name]) => name !== DLQ_HEADERS.stepInput).map(line), ''] : []),
    head(`key: ${letter.key === null ? 'none' : isUtf8(letter.key) ? printable(letter.key.toString()) : letter.key.toString('hex')}`),
    head(payload === null ? 'value: none (a tombstone)' : `value, ${payload.length} bytes${cutNote}`),
    ...(payload === null ? [] : isUtf8(payload) ? [printable(payload.toString())] : hexDump(payload, '--raw gives them all')),
    ...(d?.stepInput === undefined ? [] : ['', head(`input of step ${oneLine(d.step)}`), printable(d.stepInput)]),
    ...(d?.stepInputMissing === undefined
      ? []
      : ['', `the input of step ${oneLine(d.step)} is not kept (${oneLine(d.stepInputMissing)}): replay it from its source`]),
    '',
  ].join('\n')
}
