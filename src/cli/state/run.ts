import { readFileSync } from 'node:fs'
import type { Pipeline } from '../../config/model.ts'
import { PipelineError } from '../../contract/plugin.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { type ExportedState, importState, type KeptState, keptState, removeState } from '../../operations/state.ts'
import { MANIFEST_STORE } from '../../runtime/state.ts'
import { print, printError, printJson } from '../output.ts'
import { table } from '../table.ts'
import { loadAll } from '../load.ts'
import type { StateFlags } from '../state.ts'
import { reasonOf } from '../../kit/system-error.ts'
import { malformedJson } from '../../contract/json-scan.ts'

export async function ls(file: string, flags: StateFlags): Promise<number> {
  return withState(file, flags, (_, kept) => {
    if (flags.json) printJson({ lanes: kept.map(summary) })
    else
      print(
        table(
          [
            { head: 'OWNER' },
            { head: 'LANE' },
            { head: 'POSITION', kind: 'position' },
            { head: 'ENTRIES', kind: 'count' },
            { head: 'STEPS' },
            { head: '' },
          ],
          kept.map(k => [
            k.owner,
            k.lane,
            JSON.stringify(k.checkpoint.position),
            k.entries,
            stepsOf(k),
            k.current ? '' : 'other version or group',
          ]),
        ),
      )
    return EXIT.ok
  })
}

export async function show(file: string, flags: StateFlags): Promise<number> {
  return withState(file, flags, (_, all) => {
    const kept = chosen(all, flags)
    if (kept.length === 0) return none(all, flags)
    for (const k of kept) {
      print(`${JSON.stringify(summary(k))}\n`)
      for (const [store, key, json] of k.checkpoint.state) {
        const at = store.indexOf('.')
        // As stored, with all digits.
        if (store !== MANIFEST_STORE)
          print(
            `{"lane":${JSON.stringify(k.lane)},"step":${JSON.stringify(store.slice(0, at))},"store":${JSON.stringify(store.slice(at + 1))},"key":${JSON.stringify(key)},"value":${json}}\n`,
          )
      }
    }
    return EXIT.ok
  })
}

export async function exportState(file: string, flags: StateFlags): Promise<number> {
  return withState(file, flags, (pipeline, all) => {
    const kept = chosen(all, flags)
    if (kept.length === 0) return none(all, flags)
    const exported: ExportedState = {
      format: 1,
      pipeline: pipeline.name,
      lanes: kept.map(({ owner, lane, checkpoint }) => ({ owner, lane, checkpoint })),
    }
    // Unformatted bytes: the file is imported again.
    process.stdout.write(`${JSON.stringify(exported, null, 2)}\n`)
    return EXIT.ok
  })
}

export async function importFrom(file: string, from: string, flags: StateFlags): Promise<number> {
  const pipeline = await load(file, flags)
  if (typeof pipeline === 'number') return pipeline
  const exported = readExport(from)
  if (exported.lanes.length === 0) throw new PipelineError('PIPE_SETTINGS', `${from} has no lanes`)
  if (flags.yes) await importState(pipeline, exported)
  const n = exported.lanes.reduce((sum, l) => sum + l.checkpoint.state.length, 0)
  if (flags.json) printJson({ applied: flags.yes === true, lanes: exported.lanes.length, entries: n })
  else
    print(
      `${flags.yes ? 'imported' : 'would import'} ${exported.lanes.length} lanes with ${n} entries${flags.yes ? '' : '; --yes does it'}\n`,
    )
  return EXIT.ok
}

export async function remove(file: string, flags: StateFlags): Promise<number> {
  return withState(file, flags, async (pipeline, all) => {
    const kept = chosen(all, flags)
    if (kept.length === 0) return none(all, flags)
    if (flags.yes) await removeState(pipeline, [...new Set(kept.map(k => k.owner))])
    if (flags.json) printJson({ applied: flags.yes === true, lanes: kept.map(summary) })
    else
      for (const k of kept)
        print(`${flags.yes ? 'deleted' : 'would delete'} ${k.owner} ${k.lane}: ${k.entries} entries${flags.yes ? '' : '; --yes does it'}\n`)
    return EXIT.ok
  })
}

async function load(file: string, flags: StateFlags): Promise<Pipeline | number> {
  const pipelines = await loadAll([file], flags.set, flags.brokers)
  return typeof pipelines === 'number' ? pipelines : pipelines[0]
}

async function withState(
  file: string,
  flags: StateFlags,
  work: (pipeline: Pipeline, kept: KeptState[]) => number | Promise<number>,
): Promise<number> {
  const pipeline = await load(file, flags)
  return typeof pipeline === 'number' ? pipeline : work(pipeline, await keptState(pipeline))
}

const chosen = (kept: readonly KeptState[], { owner, lane }: StateFlags): KeptState[] =>
  kept.filter(k => (owner === undefined ? k.current : k.owner === owner) && (lane === undefined || k.lane === lane))

function none(all: readonly KeptState[], { owner, lane }: StateFlags): number {
  const what = `${owner === undefined ? '' : ` of ${owner}`}${lane === undefined ? '' : ` for lane ${lane}`}`
  const others = [...new Set(all.map(k => k.owner))].join(', ')
  printError(`there is no state${what}${others === '' ? '' : `; there is state of ${others}`}`)
  return EXIT.runtime
}

const stepsOf = ({ steps }: KeptState): string =>
  Object.entries(steps)
    .map(([step, n]) => `${step} ${n}`)
    .join(', ') || '-'

const summary = ({ owner, lane, current, checkpoint, entries, steps, madeFrom }: KeptState): object => ({
  owner,
  lane,
  current,
  position: checkpoint.position,
  entries,
  steps,
  made_from: madeFrom ?? null,
})

function readExport(file: string): ExportedState {
  let text: string
  let exported: ExportedState
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new PipelineError('PIPE_SETTINGS', `cannot read ${file}: ${reasonOf(error)}`, { cause: error })
  }
  try {
    exported = JSON.parse(text) as ExportedState
  } catch (error) {
    throw new PipelineError('PIPE_SETTINGS', `${file}: ${malformedJson(text, error).message}`, { cause: error })
  }
  if (exported.format !== 1 || !Array.isArray(exported.lanes))
    throw new PipelineError('PIPE_SETTINGS', `${file} is not a file written by runner state export`)
  return exported
}
