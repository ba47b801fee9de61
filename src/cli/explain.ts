/** `runner explain FILE`: what a pipeline is, with every default filled in, and what it promises. */
import { redact } from '../kit/text/secrets.ts'
import { styleText } from 'node:util'
import { type Command, Option } from 'commander'
import { EXIT } from '../kit/exit-codes.ts'
import { runCommand } from './command.ts'
import type { Paint, Style } from '../explain/text.ts'
import { loadAll } from './load.ts'
import { setOption } from './options.ts'

export interface ExplainFlags {
  readonly format: 'text' | 'mermaid' | 'svg' | 'json'
  readonly set?: string[]
}

export function register(program: Command): void {
  program
    .command('explain')
    .description('show the graph, settings and guarantees of a pipeline')
    .argument('<file>', 'pipeline file')
    .addOption(new Option('--format <format>', 'output format').choices(['text', 'mermaid', 'svg', 'json']).default('text'))
    .addOption(setOption('override a value, e.g. delivery=at_least_once'))
    .addHelpText('after', '\nExample:\n  $ runner explain pipelines/bars.yaml --format svg > bars.svg')
    .action(async (file: string, flags: ExplainFlags) => {
      await runCommand(() => explain(file, flags))
    })
}

/** @returns the exit code. */
export async function explain(file: string, { format, set }: ExplainFlags): Promise<number> {
  const pipelines = await loadAll([file], set)
  if (typeof pipelines === 'number') return pipelines
  const { describe } = await import('../explain/describe.ts')
  const explanation = describe(pipelines[0])
  if (format === 'json') process.stdout.write(redact(`${JSON.stringify(explanation, null, 2)}\n`))
  else if (format === 'text') process.stdout.write(redact((await import('../explain/text.ts')).toText(explanation, paint)))
  else {
    const { toMermaid, toSvg } = await import('../explain/mermaid.ts')
    process.stdout.write(redact(format === 'svg' ? await toSvg(explanation) : toMermaid(explanation)))
  }
  return EXIT.ok
}

const STYLES: Record<Style, Parameters<typeof styleText>[0]> = {
  bold: 'bold',
  dim: 'dim',
  source: 'cyan',
  sink: 'green',
  dead: 'red',
  exactly_once: 'green',
  effectively_once: 'cyan',
  at_least_once: 'yellow',
  at_most_once: 'red',
}
const paint: Paint = (style, text) => styleText(STYLES[style], text)
