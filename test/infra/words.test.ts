/** scripts/words.js, the check of the voice: every rule matches its sentence, and correct text passes. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { PHRASES, SPELLING } from '../../scripts/words-rules.js'
import { problems, violations } from '../../scripts/words.js'
import { tempDir } from '../support/runner.ts'

const root = join(import.meta.dirname, '../..')

/** A sentence for each rule, in the order of the rules. */
const PLANTED = [
  'Nobody reads the topic.',
  'The header tells the reason.',
  'The socket stands in the way.',
  'The sender hears the answer.',
  'Mend the file.',
  'The record is buried.',
  'The runner looks whether the file exists.',
  'The step knows the field.',
  'The log says why.',
  'The value is no object.',
  'It waits for ever.',
  'The command brings about the topics.',
  'It is printed every so often.',
  'What the parser rejects is dead-lettered.',
  'The settler writes the batch.',
  'A cycle is one transaction.',
  'Another instance takes over the lane.',
  'The arm ends in a sink.',
  'The teller commits offsets.',
  'A back-fill has no group.',
  'The letter has headers.',
  'The record goes to the dead letters.',
  'The member is put out of the group.',
  'The service refuses the row.',
  'The source rewinds the lane.',
  'The book begins anew.',
  'The lane settles its batches.',
  'The record goes to another place.',
  'The source probes the server.',
  'The step holds its records.',
  'The sink promises more.',
]

test('every rule has a sentence that only this rule matches', () => {
  expect(PLANTED).toHaveLength(PHRASES.length)
  PLANTED.forEach((text, i) => {
    expect(problems({ line: 1, kind: 'prose', text }), text).toEqual([expect.stringContaining(`: write ${PHRASES[i].write}`)])
  })
})

test('correct uses pass', () => {
  for (const text of [
    'The option `--tell` is a name, and "nobody" is quoted.',
    'DLQ stands for dead-letter queue.',
    'There is no topic, and the file is no longer read.',
    'A lowercase letter, and letters or digits.',
    'The dead letter is in the dead-letter queue.',
    'A backfill reads records again.',
    'The value is changed in place, and the file is used in its place.',
    'A promise that never settles, and readiness probes.',
    'The column holds a number, and the process holds the lock.',
  ])
    expect(problems({ line: 1, kind: 'prose', text }), text).toEqual([])
})

test('British spelling is found, in any case', () => {
  for (const [british, us] of Object.entries(SPELLING))
    expect(problems({ line: 1, kind: 'prose', text: `A ${british.toUpperCase()}.` })).toEqual([expect.stringContaining(`write ${us}`)])
})

test('terms that the glossary rejects are found', () => {
  const rows = readFileSync(join(root, 'docs/glossary.md'), 'utf8').matchAll(/^\| [^|]+ \| [^|]+ \| ([^|]+) \|$/gm)
  // Words with other meanings, which no rule can distinguish.
  const ambiguous = ['not', 'dead letters (the place)', 'path', 'promise']
  const terms = [...rows]
    .flatMap(row => row[1].trim().split(', '))
    .filter(term => term !== '' && !/^-+$/.test(term) && !ambiguous.includes(term))
  expect(terms.length).toBeGreaterThan(4)
  for (const term of terms) {
    const text = term === 'put out' ? 'It is put out of the group.' : `The ${term} is here.`
    expect(problems({ line: 1, kind: 'prose', text }), term).not.toEqual([])
  }
})

test.each([
  ['README.md', '# A heading in Title case\n', 'heading'],
  ['README.md', '```\nnpm ci\n```\n', 'fence'],
  ['README.md', `${'word '.repeat(41)}.\n`, 'prose'],
  ['README.md', '| a | b |\n|---|---|\n| nobody | 1 |\n', 'cell'],
  ['README.md', '```mermaid\nflowchart LR\n  a["nobody reads"]\n```\n', 'label'],
  ['sink.schema.json', '{"description":"Nobody reads it."}', 'description'],
  ['p.yaml', '# Nobody reads it.\nname: p\n', 'comment'],
  ['p.test.yaml', 'tests:\n  - name: nobody reads it\n', 'title'],
  ['src/a.ts', '// Nobody reads it.\n', 'comment'],
  ['src/a.ts', "throw new Error('nobody reads it')\n", 'message'],
  ['src/a.ts', 'throw new Error(`${topic}: nobody reads ${name}`)\n', 'message'],
  ['test/a.test.ts', "test('nobody reads it', () => {})\n", 'title'],
  ['test/a.test.ts', "test.each([1])('nobody reads %s', () => {})\n", 'title'],
])('in %s, %j is found', (file, text, kind) => {
  const folder = tempDir()
  mkdirSync(dirname(join(folder, file)), { recursive: true })
  writeFileSync(join(folder, file), text)
  expect(violations(folder, [file])).toEqual([expect.stringMatching(new RegExp(`^${file}:\\d+: ${kind}: `))])
})

test('the command prints file and line, and fails', () => {
  const cwd = tempDir({ 'bad.md': '# Title\n\nNobody reads it.\n', 'good.md': '# Title\n\nA reader.\n' })
  const words = (...files: string[]) => spawnSync(process.execPath, [join(root, 'scripts/words.js'), ...files], { cwd, encoding: 'utf8' })
  const bad = words('good.md', 'bad.md')
  expect(bad.stderr).toContain('bad.md:3: prose: "Nobody"')
  expect([bad.status, words('good.md').status]).toEqual([1, 0])
})
