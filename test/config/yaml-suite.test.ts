/**
 * yaml-test-suite (ccfa74e5): its texts, with the suite's marks for white space replaced, and the JSON value of each. Texts that have
 * no JSON are left out.
 */
import { gunzipSync } from 'node:zlib'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { parseText } from '../../src/config/parse.ts'
import { Problems } from '../../src/config/problems.ts'
import { SourceText, type TreeNode } from '../../src/config/tree.ts'

type Case = { readonly yaml: string } & ({ readonly fail: true } | { readonly json: string })

const cases = Object.entries(
  JSON.parse(gunzipSync(readFileSync(join(import.meta.dirname, '../suites/yaml/suite.json.gz'))).toString()) as Record<string, Case>,
)

/** One or more JSON texts, one after the other. */
function documents(json: string): unknown[] {
  const found: unknown[] = []
  let lines: string[] = []
  for (const line of json.split('\n')) {
    lines.push(line)
    try {
      found.push(JSON.parse(lines.join('\n')))
      lines = []
    } catch {
      // The document continues on the next line.
    }
  }
  expect(lines.join('').trim()).toBe('')
  return found
}

const plain = (node: TreeNode): unknown =>
  node.kind === 'scalar'
    ? node.value
    : node.kind === 'seq'
      ? node.items.map(plain)
      : Object.fromEntries(Array.from(node.entries, ([key, { value }]) => [key, plain(value)]))

/** Differences between the library and the suite, and why pipelines are still read correctly. */
const OTHERWISE = {
  '9MMA': 'accepts a directive without a document; refused here as an empty file',
  SF5V: 'accepts a doubled %YAML directive, which changes nothing',
  M7A3: 'counts a comment between two `...` as an empty document; several documents are refused here',
  HWV9: 'counts `...` alone as an empty document; refused here as an empty file',
  QT73: 'counts a comment and `...` as an empty document; refused here as an empty file',
  '2XXW': 'makes a Set of !!set; tags are refused here',
  '565N': 'makes bytes of !!binary; tags are refused here',
  J7PZ: 'makes a Map of !!omap; tags are refused here',
}

/** Texts that are YAML and not a pipeline, by the code of the problem. */
const REFUSED = {
  CONFIG_ALIAS: /* an anchor on a key */ '2SXE HMQ5',
  CONFIG_DOCUMENTS: '35KP 5TYM 6WLZ 6XDY 6ZKB 7Z25 9DXL 9KAX 9WXW JHB9 KSS4 L383 M7A3 PUW8 RZT7 U9NS UT92 W4TN',
  CONFIG_EMPTY: '8G76 98YD AVM7 DK95/7 HWV9 MUS6/2 MUS6/3 MUS6/4 MUS6/5 MUS6/6 QT73',
  CONFIG_KEY: /* an alias as a key */ '26DV E76Z',
  CONFIG_TAG:
    '2AUY 2XXW 33X3 35KP 52DL 565N 57H4 5TYM 6CK3 6JWB 6WLZ 735Y 74H7 7FWL 8MK2 9KAX 9WXW BU8L C4HZ CC74 CUP7 EHF6 F2C7 HMQ5 J7PZ L94M LE5A M5C3 P76L S4JQ U3C3 UGM3 WZ62 Z67P Z9M4',
}

test('yaml-test-suite: the yaml library passes with the options of configuration files', () => {
  const otherwise: string[] = []
  for (const [id, c] of cases) {
    const read = parseAllDocuments(c.yaml, { prettyErrors: false, uniqueKeys: false, schema: 'core', strict: true, logLevel: 'silent' })
    const accepted = ('empty' in read ? read.errors : read.flatMap(doc => doc.errors)).length === 0
    const right =
      'fail' in c
        ? !accepted
        : accepted &&
          isDeepStrictEqual(
            Array.from(read, doc => doc.toJS() as unknown),
            documents(c.json),
          )
    if (!right) otherwise.push(id)
  }
  expect(cases).toHaveLength(373)
  expect(otherwise.sort()).toEqual(Object.keys(OTHERWISE).sort())
})

test('yaml-test-suite: a configuration file has the value of the suite, or a problem', () => {
  const wrong: string[] = []
  const refused: Record<string, string[]> = {}
  let read = 0
  for (const [id, c] of cases) {
    const problems = new Problems()
    const tree = parseText(new SourceText('suite.yaml', c.yaml), problems)
    const codes = new Set(problems.list().map(p => p.code))
    if ('fail' in c) {
      if (codes.size === 0) wrong.push(`${id}: accepted`)
    } else if (codes.size > 0) for (const code of codes) (refused[code] ??= []).push(id)
    else if (tree && isDeepStrictEqual(plain(tree), documents(c.json)[0])) read++
    else wrong.push(`${id}: another value`)
  }
  expect(wrong).toEqual([])
  expect(Object.fromEntries(Object.entries(refused).map(([code, ids]) => [code, ids.join(' ')]))).toEqual(REFUSED)
  expect(read).toBe(217)
})
