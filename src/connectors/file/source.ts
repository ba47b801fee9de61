import { globSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FileSourceConfig } from '../../generated/config-types.ts'
import { type ConfigProblem, defineSource, EnvironmentError, type Source, type SourceContext } from '../../contract/plugin.ts'
import { FileLane } from './file-lane.ts'
import { WILD } from './open.ts'
import { delimiterFor, formatOf, plainName, validateRecords } from '../../kit/lines/records.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import lines from '../../kit/keys/lines.schema.json' with { type: 'json' }
import schema from './source.schema.json' with { type: 'json' }

export default defineSource<FileSourceConfig>({
  type: 'file',
  schema: withKeys(schema, lines),
  replayable: true,
  lanes: config => (WILD.test(config.path) ? 'many' : 'one'),
  reason: 'a file can be read again from any byte',
  datedByRead: true,
  validateConfig,
  check: async config => (await import('./check.ts')).checkSource(config),
  create,
})

function validateConfig(config: FileSourceConfig): ConfigProblem[] {
  const problems = validateRecords(config, formatOf(config.format, config.path))
  const { follow, compression, path } = config
  if (follow && (compression === 'gzip' || compression === 'zstd' || (compression === 'auto' && plainName(path) !== path)))
    problems.push({
      path: ['follow'],
      message: 'follow does not work on compressed files, which cannot grow; set follow: false',
      suggestion: 'false',
    })
  return problems
}

function create(config: FileSourceConfig, ctx: SourceContext): Source {
  let lanes: FileLane[] = []
  let turn = 0

  return {
    async open() {
      const wild = config.path.search(WILD)
      const paths = wild < 0 ? [config.path] : globSync(config.path).toSorted()
      const base = wild < 0 ? undefined : dirname(`${config.path.slice(0, wild)}.`)
      if (paths.length === 0) throw new EnvironmentError(`no file matches ${config.path}`)
      const { log, metrics, step } = ctx
      lanes = paths.map(path => {
        const format = formatOf(config.format, path)
        return new FileLane({
          ...config,
          format,
          delimiter: delimiterFor(config.delimiter, path),
          path,
          file: path,
          base,
          source: step,
          log,
          metrics,
        })
      })
      const positions = await ctx.assign(lanes.map(({ path }) => ({ id: path, source: ctx.step })))
      for (const lane of lanes) await lane.seek(positions.get(lane.path))
    },

    async read(signal) {
      for (;;) {
        for (let n = 0; n < lanes.length; n++) {
          signal.throwIfAborted()
          const batch = await lanes[turn++ % lanes.length].next(ctx.clock.now())
          if (batch) return batch
        }
        if (!config.follow) return null
        await sleep(config.poll_interval, undefined, { signal }).catch(() => signal.throwIfAborted())
      }
    },

    async seek(lane, position) {
      await lanes.find(l => l.path === lane)?.seek(position)
    },

    caughtUp: lane => lanes.find(l => l.path === lane)?.atEnd ?? false,

    async close() {
      for (const lane of lanes) await lane.close()
    },
  }
}
