/** Steps that call a peer, in pipeline tests: the test defines the responses. */
import { expect, test } from 'vitest'
import { runRunner, tempDir } from '../support/runner.ts'

const PIPELINE = `
name: p
sources: [ { memory: { channel: in } } ]
transforms:
  - name: config
    lookup: { query: "select company, tab from companies where company = any($keys)", key: company, as: config }
  - name: rules
    sql: { query: "select category from rules where word = $word and floor < $amount", params: { word: word, amount: amount }, on_missing: pass }
sinks: [ { memory: { channel: out } } ]
dlq: { memory: { channel: dead } }
delivery: at_least_once
`
const TESTS = `
stubs:
  config:
    - { key: acme, row: { company: acme, tab: Pending } }
    - { key: 7, row: { company: "7", tab: Seven } }
    - { key: broken, error: no such thing }
  rules: []
tests:
  - name: answers
    stubs:
      rules:
        - { key: { word: uber, amount: "5" }, row: { category: travel } }
        - { key: { word: rent }, rows: [ { category: a }, { category: b } ] }
    steps:
      - input:
          - values:
              - { company: acme, word: uber, amount: 5 }
              - { company: 7, word: uber, amount: 6 }
              - { company: acme, word: rent, amount: 1 }
              - { company: nobody, word: uber, amount: 5 }
              - { company: broken, word: uber, amount: 5 }
    expect:
      outputs:
        - values:
            - { company: acme, word: uber, amount: 5, config: { company: acme, tab: Pending }, category: travel }
            - { company: 7, word: uber, amount: 6, config: { company: "7", tab: Seven } }
      dead_letters:
        - { step: rules, message: 2 rows, offset: 2 }
        - { step: config, message: no row for key nobody, offset: 3 }
        - { step: config, message: no such thing, offset: 4 }
  - name: a crash asks again
    steps:
      - input: [ { value: { company: acme, word: x, amount: 1 } } ]
      - restart: true
      - input: [ { value: { company: acme, word: x, amount: 2 } } ]
    expect: { outputs: { memory_2: { match: subset, messages: [ { values: [ { amount: 1 }, { amount: 2 } ] } ] } } }
`

const run = (pipeline: string, tests: string) =>
  runRunner(['test', 'p.test.yaml', '--repeat', '3'], { cwd: tempDir({ 'p.yaml': pipeline, 'p.test.yaml': tests }) })

test('a test defines the responses of peers, and sends no requests', async () => {
  const { code, stdout, stderr } = await run(PIPELINE, TESTS)
  expect(`${stdout}${stderr}`).toMatch(/2 passed/)
  expect(code).toBe(0)
})

test('responses for a missing step, for a step without requests, and missing responses are reported with their line', async () => {
  const without = await run(PIPELINE, TESTS.replace('  rules: []\n', ''))
  expect(without.code).toBe(2)
  expect(without.stderr + without.stdout).toMatch(/step 'rules' queries a peer/)
  const unknown = await run(PIPELINE, TESTS.replace('  rules: []\n', '  rules: []\n  rule: []\n'))
  expect(unknown.stderr + unknown.stdout).toMatch(/no transform 'rule'.*rules/s)
  const both = await run(PIPELINE, TESTS.replace('error: no such thing', 'error: no such thing, row: {}'))
  expect(both.stderr + both.stdout).toMatch(/one of row, rows or error/)
})

test('lookups in Redis and in a service: the key is the name of the key, the hash and the field, or the key', async () => {
  const pipeline = PIPELINE.replace(
    /transforms:[^]*?sinks:/,
    `transforms:
  - { name: a, lookup_redis: { string: "company:<company>", as: a } }
  - { name: b, lookup_redis: { hash: "last:<company>", hash_field: word, as: b, on_missing: "null" } }
  - { name: c, lookup_http: { url: "http://127.0.0.1:1/{key}", key: company, as: c } }
sinks:`,
  )
  const tests = `
stubs:
  a: [ { key: "company:acme", row: { n: 1 } } ]
  b: [ { key: { hash: "last:acme", field: x }, row: { n: 2 } } ]
  c: [ { key: acme, row: { n: 3 } } ]
tests:
  - name: answers
    steps: [ { input: [ { values: [ { company: acme, word: x }, { company: acme, word: y }, { company: no, word: x } ] } ] } ]
    expect:
      outputs:
        - values:
            - { company: acme, word: x, a: { n: 1 }, b: { n: 2 }, c: { n: 3 } }
            - { company: acme, word: y, a: { n: 1 }, b: null, c: { n: 3 } }
      dead_letters: [ { step: a, message: "no row for key company:no" } ]
`
  const { code, stdout, stderr } = await run(pipeline, tests)
  expect(`${stdout}${stderr}`).toMatch(/1 passed/)
  expect(code).toBe(0)
})
