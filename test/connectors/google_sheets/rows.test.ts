import { expect, test } from 'vitest'
import { rowsReader } from '../../../src/connectors/google_sheets/rows.ts'
import { parseJson } from '../../../src/contract/plugin.ts'

const read = rowsReader({ columns: ['id', 'amount'], key: 'id', numbers: ['amount'] } as any)
const cells = (json: string) => JSON.stringify(read(parseJson(json)).map(r => r.cells))

test('numeric cells stay numbers; other values become text with all digits', () => {
  for (const [given, cell] of [
    ['"1.50"', '1.5'],
    ['1.10', '1.1'],
    ['104204.45', '104204.45'],
    ['"-7"', '-7'],
  ])
    expect(cells(`{"id":"a","amount":${given}}`)).toContain(`,${cell}]`)
  for (const given of ['9007199254740993', '"9007199254740993"', '12345678901234567.89', '"12345678901234567.89"'])
    expect(cells(`{"id":"a","amount":${given}}`)).toContain(`,"${given.replaceAll('"', '')}"]`)
})
