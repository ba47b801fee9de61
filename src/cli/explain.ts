/** `runner explain FILE`: the graph, all settings including defaults, and the guarantees of a pipeline. */
import { type Command, Option } from 'commander'
import { EXIT } from '../kit/exit-codes.ts'
import { runCommand } from './command.ts'
import { paint as painted, print, printJson, type Style as OutputStyle, widthOf } from './output.ts'
import type { Paint, Style } from '../explain/text.ts'
import { loadAll } from './load.ts'
import { setOption } from './options.ts'

export interface ExplainFlags {
  readonly format: 'text' | 'mermaid' | 'svg' | 'json'
  readonly set?: string[]
  readonly all?: true
  readonly resolved?: true
}

export function register(program: Command): void {
  program
    .command('explain')
    .description('show the graph, settings and guarantees of a pipeline')
    .argument('<file>', 'pipeline file')
    .addOption(new Option('--format <format>', 'output format').choices(['text', 'mermaid', 'svg', 'json']).default('text'))
    .addOption(setOption('override a value, e.g. delivery=at_least_once'))
    .option('--all', 'also print the settings that have their default')
    .option('--resolved', 'print the file with everything that it uses in its place')
    .addHelpText('after', '\nExample:\n  $ runner explain pipelines/bars.yaml --format svg > bars.svg')
    .action(async (file: string, flags: ExplainFlags) => {
      await runCommand(() => explain(file, flags))
    })
}

/** @returns the exit code. */
export async function explain(file: string, { format, set, all, resolved }: ExplainFlags): Promise<number> {
  const pipelines = await loadAll([file], set)
  if (typeof pipelines === 'number') return pipelines
  if (resolved) {
    const { toYaml } = await import('../explain/resolved.ts')
    print(toYaml(pipelines[0].tree!))
    return EXIT.ok
  }
  const { describe } = await import('../explain/describe.ts')
  const explanation = describe(pipelines[0])
  if (format === 'json') printJson(explanation)
  else if (format === 'text') print((await import('../explain/text.ts')).toText(explanation, paint, widthOf(), all))
  else {
    const { toMermaid, toSvg } = await import('../explain/mermaid.ts')
    print(format === 'svg' ? await toSvg(explanation) : toMermaid(explanation))
  }
  return EXIT.ok
}

const STYLES: Record<Style, OutputStyle> = {
  bold: 'bold',
  dim: 'dim',
  source: 'accent',
  sink: 'accent',
  dead: 'dim',
  exactly_once: 'accent',
  effectively_once: 'accent',
  at_least_once: 'bold',
  at_most_once: 'bad',
}
const paint: Paint = (style, text) => painted(STYLES[style], text)
