/** A test file from disk: parsed, judged by its schema, turned into what the engine runs. Problems carry their place, as for a pipeline file. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { diagnose } from '../config/diagnose.ts'
import type { Problem } from '../config/model.ts'
import { parseText } from '../config/parse.ts'
import { Problems } from '../config/problems.ts'
import type { Schema } from '../config/schema.ts'
import { SourceText, type TreeNode, toValue } from '../config/tree.ts'
import schema from '../../schemas/test.schema.json' with { type: 'json' }
import type { TestFile } from './model.ts'
import { readTests } from './read.ts'
import { TestSource } from './source.ts'

export interface LoadedTests {
  /** undefined when there are problems. */
  readonly tests: TestFile | undefined
  readonly problems: readonly Problem[]
  /** For problems that are found later, in the pipeline's light. */
  readonly source: TestSource
}

export const TEST_FILE = /\.test\.ya?ml$/

/** `pipelines/bars.test.yaml` tests `pipelines/bars.yaml`. */
export const pipelineOf = (file: string): string => file.replace(TEST_FILE, match => (match.endsWith('.yml') ? '.yml' : '.yaml'))

export async function loadTests(file: string): Promise<LoadedTests> {
  const problems = new Problems()
  const read = readText(file)
  const text = new SourceText(file, typeof read === 'string' ? read : '')
  const nothing = { source: text, start: 0, end: 0 }
  if (typeof read !== 'string') problems.add('CONFIG_READ', nothing, [], `${file} cannot be read: ${read.message}`)
  else if (/^(\s*(#[^\n]*)?(\n|$))*$/.test(read))
    problems.add('CONFIG_EMPTY', nothing, [], 'the file is empty: a test file needs at least tests')
  const root = problems.empty ? parseText(text, problems) : undefined
  const source = new TestSource(text, root)
  if (!root || !problems.empty) return { tests: undefined, problems: problems.list(), source }

  for (const j of await diagnose(toValue(root), schema as unknown as Schema)) {
    const span = j.on === 'parent' ? source.span(j.path.slice(0, -1), 'key') : source.span(j.path, j.on)
    problems.add(j.code, span, j.path, j.message, j.suggestion)
  }
  if (!problems.empty) return { tests: undefined, problems: problems.list(), source }
  const tests = readTests(source, join(dirname(file), pipelineName(file, root)), problems)
  return { tests: problems.empty ? tests : undefined, problems: problems.list(), source }
}

function pipelineName(file: string, root: TreeNode): string {
  const named = root.kind === 'map' ? root.entries.get('pipeline') : undefined
  return named ? String(toValue(named.value)) : pipelineOf(file).slice(dirname(file) === '.' ? 0 : dirname(file).length + 1)
}

function readText(file: string): string | Error {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file))
  } catch (error) {
    return error as Error
  }
}
