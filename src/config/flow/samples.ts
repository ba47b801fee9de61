/** Reads the sample records of a source: `samples: trades.jsonl`. Only `validate` and `types` read them. */
import { isAbsolute, join } from 'node:path'
import { parseJson } from '../../contract/plugin.ts'
import { readRegular } from '../../kit/read-regular.ts'
import type { RecordType } from '../../expressions/record-type.ts'
import type { Problems } from '../problems.ts'
import type { CheckedStep } from '../steps.ts'
import { typeOfValues } from './json-schema.ts'

/** The type of the samples; undefined if there are none, or the file has a problem, which is reported. */
export function sampleType({ node, path }: CheckedStep, base: string, problems: Problems): RecordType | undefined {
  const entry = node.entries.get('samples')
  if (entry?.value.kind !== 'scalar' || typeof entry.value.value !== 'string' || entry.value.value === '') return undefined
  const written = entry.value.value
  const fail = (message: string): void => problems.add('CONFIG_VALUE', entry.value.span, [...path, 'samples'], message)
  const file = isAbsolute(written) ? written : join(base, written)
  let text: string
  try {
    text = readRegular(file).toString()
  } catch {
    fail(`the sample records in ${written} cannot be read: write the path of a file, relative to this file`)
    return undefined
  }
  const values: unknown[] = []
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  for (const [i, line] of lines.entries()) {
    if (line.trim() === '') continue
    try {
      values.push(parseJson(line))
    } catch {
      fail(`${written}:${i + 1} is not a JSON value; a file of samples has one JSON value per line`)
      return undefined
    }
  }
  if (values.length > 0) return typeOfValues(values)
  fail(`${written} has no sample records; a file of samples has one JSON value per line`)
  return undefined
}
