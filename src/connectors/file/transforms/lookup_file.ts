/** Adds a row of a local file to each message. */
import type { LookupFileConfig } from '../../../generated/config-types.ts'
import { type CheckResult, type ConfigProblem, DataError, defineTransform, type Message, type Output } from '../../../contract/plugin.ts'
import { compile } from '../../../expressions/index.ts'
import { attempt } from '../../../kit/fail.ts'
import lines from '../../../kit/keys/lines.schema.json' with { type: 'json' }
import lookupKeys from '../../../kit/keys/lookup.schema.json' with { type: 'json' }
import { withKeys } from '../../../kit/keys/with-keys.ts'
import { delimiterFor, formatOf, validateRecords } from '../../../kit/lines/records.ts'
import { keyReader, placer } from '../../../kit/lookup.ts'
import { sameKeyText } from '../../../kit/values/key.ts'
import schema from './lookup_file.schema.json' with { type: 'json' }
import { loadTable, Table } from '../table.ts'

export default defineTransform<LookupFileConfig>({
  type: 'lookup_file',
  varies: 'reads the file again, which may have changed',
  schema: withKeys(withKeys(schema, lookupKeys), lines),
  validateConfig,
  create(config, ctx) {
    const table = ctx.shared('table', () => new Table(config, ctx))
    const expression = compile(config.key)
    const keyOf = keyReader('lookup_file', m => expression.evaluate(m), sameKeyText)
    const place = placer('lookup_file', config)
    const rows = ctx.metrics.gauge('lookup_file_rows', 'Rows of a file that is in memory as a table', { step: ctx.step })
    const placeAll = (messages: readonly Message[], out: Output): void => {
      rows.set(table.count)
      for (const m of messages) {
        const key = attempt(() => keyOf(m))
        if (key instanceof DataError) out.fail(m, key)
        else place(m, key, { rows: table.rows.get(key) ?? [] }, out)
      }
    }
    return {
      open: () => table.open(),
      process(messages, out) {
        const refreshing = table.refresh()
        if (!refreshing) return placeAll(messages, out)
        // The array belongs to the caller and must be copied.
        const mine = [...messages]
        return refreshing.then(() => placeAll(mine, out))
      },
      // A broken file is reported also while no records arrive.
      onIdle: () => void table.refresh(),
      healthy: () => table.problem ?? true,
    }
  },
  check,
})

async function check(config: LookupFileConfig): Promise<CheckResult[]> {
  const what = `table ${config.path}`
  try {
    const { count, rows } = await loadTable(config, Number.POSITIVE_INFINITY)
    return [{ what, ok: true, detail: `${count} rows with ${rows.size} keys` }]
  } catch (error) {
    return [{ what, ok: false, detail: (error as Error).message, fix: 'correct the file, or path, column and format' }]
  }
}

function validateConfig(config: LookupFileConfig): ConfigProblem[] {
  const format = formatOf(config.format, config.path)
  const problems = validateRecords({ ...config, delimiter: delimiterFor(config.delimiter, config.path) }, format)
  if (format === 'text') problems.push({ path: ['format'], message: 'a line of text has no columns; use csv or jsonl', suggestion: 'csv' })
  if (config.columns && !config.columns.includes(config.column))
    problems.push({ path: ['column'], message: `is not one of columns: ${config.columns.join(', ')}` })
  if (config.as.includes('.')) problems.push({ path: ['as'], message: 'must be the name of a field, not a path' })
  if (config.many && config.on_missing !== 'fail')
    problems.push({ path: ['on_missing'], message: 'does not work with many: true, where a missing key gives an empty list; remove it' })
  return problems
}
