/** `runner trigger PIPELINE`: sends a message to the trigger source of a pipeline on this machine. */
import type { Command } from 'commander'
import { EXIT, exitCodeOf } from '../kit/exit-codes.ts'
import { TriggerQueue } from '../connectors/trigger/queue.ts'
import type { Pipeline } from '../config/model.ts'
import { loadAll } from './load.ts'
import { parseDurationOption } from './options.ts'
import { errorText, outcomeLine, print, printError, usageError } from './output.ts'
import { malformedJson } from '../contract/json-scan.ts'

interface TriggerFlags {
  readonly source?: string
  readonly data: string
  readonly key?: string
  readonly wait?: number
}

export function register(program: Command): void {
  program
    .command('trigger')
    .description('send a message to the trigger source of a pipeline')
    .argument('<pipeline>', 'pipeline file')
    .option('--source <step>', 'name of the trigger source, if there are several')
    .option('--data <json>', 'the message', '{}')
    .option('--key <key>', 'key of the message')
    .option('--wait <duration>', 'wait until the message is processed; exit with 4 after this time', parseDurationOption)
    .addHelpText('after', '\nExample:\n  $ runner trigger pipelines/rules-promote.yaml --data \'{"company":"acme"}\' --wait 30s')
    .action(async (file: string, flags: TriggerFlags) => {
      process.exitCode = await trigger(file, flags)
    })
}

async function trigger(file: string, flags: TriggerFlags): Promise<number> {
  const pipelines = await loadAll([file], [])
  if (typeof pipelines === 'number') return pipelines
  const [pipeline] = pipelines
  const source = chosen(pipeline, flags.source)
  if (source.problem !== undefined) return usageError(source.problem)
  try {
    JSON.parse(flags.data)
  } catch (error) {
    return usageError(`--data: ${malformedJson(flags.data, error).message}`)
  }
  try {
    return await send(await TriggerQueue.open(pipeline.name, source.name), `${pipeline.name}/${source.name}`, flags)
  } catch (error) {
    printError(errorText(error))
    return exitCodeOf(error)
  }
}

type Choice = { readonly name: string; readonly problem?: undefined } | { readonly problem: string }

function chosen({ name, sources }: Pipeline, wanted: string | undefined): Choice {
  const names = sources.filter(s => s.type === 'trigger').map(s => s.name)
  if (names.length === 0) return { problem: `${name} has no trigger source: add '- trigger: {}' under sources` }
  if (wanted !== undefined && !names.includes(wanted))
    return { problem: `${name} has no trigger source '${wanted}'; it has ${names.join(', ')}` }
  if (wanted === undefined && names.length > 1) return { problem: `several trigger sources: write --source ${names.join(' or --source ')}` }
  return { name: wanted ?? names[0] }
}

async function send(queue: TriggerQueue, to: string, { data, key, wait }: TriggerFlags): Promise<number> {
  try {
    const id = await queue.put(data, key ?? null, Date.now())
    print(outcomeLine('ok', `trigger ${id} is queued for ${to}`))
    if (wait === undefined) return EXIT.ok
    if (await gone(queue, id, wait)) {
      print(outcomeLine('ok', `trigger ${id} is done`))
      return EXIT.ok
    }
    printError(
      `trigger ${id} is still queued: check that the pipeline is running with the same RUNNER_STATE_DIR. The message stays queued.`,
    )
    return EXIT.verdict
  } finally {
    queue.close()
  }
}

async function gone(queue: TriggerQueue, id: number, within: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const look = (): void => {
    if (!queue.holds(id)) resolve(true)
  }
  const timer = setTimeout(() => resolve(false), within)
  const stop = queue.watch(look)
  look()
  return promise.finally(() => {
    stop()
    clearTimeout(timer)
  })
}
