import { pathToFileURL } from 'node:url'
import { isAbsolute } from 'node:path'
import manifest from '../../../package.json' with { type: 'json' }
import { CODES } from '../../config/codes.ts'
import type { Edit, Problem } from '../../config/model.ts'
import type { FileResult } from '../validate.ts'

/** SARIF 2.1.0 for code scanning. */
export function formatSarif(results: readonly FileResult[]): string {
  const ids = Object.keys(CODES)
  const log = {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'runner validate',
            version: manifest.version,
            rules: Object.entries(CODES).map(([id, { title, help }]) => ({ id, shortDescription: { text: title }, help: { text: help } })),
          },
        },
        columnKind: 'utf16CodeUnits',
        results: results
          .flatMap(r => r.problems)
          .map(p => ({
            ruleId: p.code,
            ruleIndex: ids.indexOf(p.code),
            level: p.severity,
            message: { text: p.suggestion === undefined ? p.message : `${p.message} (did you mean: ${p.suggestion})` },
            locations: [
              {
                physicalLocation: {
                  artifactLocation: locationOf(p),
                  region: { startLine: p.line, startColumn: p.column, endLine: p.endLine, endColumn: p.endColumn },
                },
                ...(p.path === '' ? {} : { logicalLocations: [{ fullyQualifiedName: p.path }] }),
              },
            ],
            ...(p.fix && { fixes: [fixOf(p, p.fix)] }),
          })),
      },
    ],
  }
  return `${JSON.stringify(log, null, 2)}\n`
}

const locationOf = ({ file }: Problem): object => ({
  uri: isAbsolute(file) ? pathToFileURL(file).href : encodeURI(file.replaceAll('\\', '/')),
})

const fixOf = (p: Problem, { line, column, endLine, endColumn, text }: Edit): object => ({
  description: { text: `write ${text}` },
  artifactChanges: [
    {
      artifactLocation: locationOf(p),
      replacements: [{ deletedRegion: { startLine: line, startColumn: column, endLine, endColumn }, insertedContent: { text } }],
    },
  ],
})
