import { expect, test } from 'vitest'
import { toJson } from '../../src/cli/dlq/ls.ts'
import { Message } from '../../src/contract/plugin.ts'
import { selector } from '../../src/dead-letters/select.ts'
import { readDeadLetter } from '../../src/kit/dead-letter/read.ts'

const origin = { lane: 'l', source: 's', topic: 't', partition: 0, format: 'json' } as const
const letter = (key: Buffer | null) => readDeadLetter(Message.fromRecord(Buffer.from('1'), key, 0, undefined, 0, origin), 0)

test('keys that are not UTF-8 are different: one of them selects no other', () => {
  const keys = [Buffer.from([0xff]), Buffer.from([0xfe]), Buffer.from('\ufffd'), Buffer.from('e\u0301'), Buffer.from('é'), null]
  const letters = keys.map(letter)
  const shown = letters.map(l => (toJson({ letter: l, done: false }) as { key: string | null }).key)
  expect(shown).toEqual(['\ufffd0xff', '\ufffd0xfe', '\ufffd', 'e\u0301', 'é', null])
  for (const key of shown) if (key !== null) expect(letters.filter(selector({ ids: [], key }))).toEqual([letters[shown.indexOf(key)]])
})
