/** Errors of a plugin outside its calls end the command with a message of the runner and without partial output. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'

const TRANSFORM = (type: string, body: string): string => `export default {
  kind: 'transform',
  type: '${type}',
  schema: { type: 'object' },
  create: () => ({
    process(messages, out) {
${body}
      for (const m of messages) out.emit(m)
    },
  }),
}
`
const PIPELINE = (steps: string, plugins: string, name = 'p'): string => `name: ${name}
plugins: [${plugins}]
sources: [{ generate: { rate: 200, fields: { n: { sequence: 1 } } } }]
transforms:
${steps}
sinks: [{ file: { path: out.${name}.jsonl } }]
`

/** How \`run\` ends with such a plugin: its log lines, with its folder taken out. */
async function endOf(
  files: Record<string, string>,
  args = ['run', 'p.yaml'],
): Promise<{ code: number | null; said: string; stderr: string }> {
  const cwd = tempDir({ 'package.json': '{"type":"module"}', ...files })
  const { code, stderr } = await runRunner(args, { cwd, env: { RUNNER_STATE_DIR: join(cwd, 'state') } })
  const lines = stderr
    .trim()
    .split('\n')
    .map(line => (line.startsWith('{') ? JSON.parse(line) : { msg: line }))
  return {
    code,
    said: lines
      .filter(l => (l.level ?? 'error') === 'error')
      .map(l => l.msg)
      .join('\n'),
    stderr,
  }
}

const LATER = {
  'a rejected promise': [
    `      void (async () => { throw new TypeError('boom') })()`,
    'a promise without await was rejected with TypeError at own.js:7:33: boom',
    'Correct the plugin: await the promise in the call that starts it, or handle its rejection.',
  ],
  'a throw in a timer': [
    `      setTimeout(() => { throw new TypeError('boom') })`,
    'a timer or an event handler threw TypeError at own.js:7:32: boom',
    'Correct the plugin: catch the error in the callback',
  ],
  'what is not an Error': [
    `      setTimeout(() => Promise.reject('boom'))`,
    "a promise without await was rejected with Error: 'boom', which is not an Error",
    "Plugins run in step 'own' (p.yaml:5).",
  ],
  'an error event that nothing handles': [
    `      import('node:net').then(({ connect }) => connect(1, '127.0.0.1'))`,
    'a timer or an event handler threw Error: connect ECONNREFUSED 127.0.0.1:1',
    "Plugins run in step 'own' (p.yaml:5).",
  ],
} as const

describe('runner run exits as for any plugin error', () => {
  test.each(Object.entries(LATER))('%s', async (_, [body, what, advice]) => {
    const { code, said, stderr } = await endOf({ 'own.js': TRANSFORM('own', body), 'p.yaml': PIPELINE('  - own: {}', './own.js') })
    expect(said).toContain(what)
    expect(said).toContain(advice)
    if (what.includes('own.js')) expect(said).toContain(`step 'own' (p.yaml:5): ${what}`)
    expect(code).toBe(1)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  test('the step is that of the innermost file, also below a helper; other pipelines continue', async () => {
    const cwd = tempDir({
      'package.json': '{"type":"module"}',
      'good.js': TRANSFORM('good', ''),
      'p.yaml': PIPELINE('  - good: {}\n  - bad: {}', './good.js, ./bad/bad.js'),
      'q.yaml': PIPELINE('  - good: {}', './good.js', 'q'),
    })
    const { mkdirSync, writeFileSync } = await import('node:fs')
    mkdirSync(join(cwd, 'bad'))
    writeFileSync(join(cwd, 'bad/bad.js'), `import { later } from './helper.js'\n${TRANSFORM('bad', '      later()')}`)
    writeFileSync(join(cwd, 'bad/helper.js'), 'export const later = () => setTimeout(() => null.x)\n')
    const runner = startRunner(['run', 'p.yaml', 'q.yaml'], { cwd, env: { RUNNER_STATE_DIR: join(cwd, 'state') } })
    const line = JSON.parse(await runner.line(/step 'bad'/))
    expect(line.msg).toMatch(/^step 'bad' \(p\.yaml:6\): a timer or an event handler threw TypeError at bad\/helper\.js:1:\d+: /)
    expect(line.pipeline).toBe('p')
    // The other pipeline still writes.
    const size = readFileSync(join(cwd, 'out.q.jsonl')).length
    await expect.poll(() => readFileSync(join(cwd, 'out.q.jsonl')).length).toBeGreaterThan(size)
    runner.kill()
    await runner.exit(1)
  })

  test('a late emit is reported with its step, also after the pipeline has ended, and if the plugin catches the error', async () => {
    const late = (call: string): Record<string, string> => ({
      'own.js': TRANSFORM('own', call),
      'p.yaml':
        'name: p\nplugins: [./own.js]\nsources: [{ file: { path: in.jsonl } }]\ntransforms: [{ own: {} }]\nsinks: [{ stdout: {} }]\n',
      'in.jsonl': '{}\n',
    })
    const message = /^step 'own' \(p\.yaml:4\): emit threw Error at own\.js:7:\d+: emit was called after the call of the plugin had ended\n/
    const soon = await endOf(late('      setImmediate(() => out.emit(messages[0]))'))
    expect([soon.code, soon.said]).toEqual([1, expect.stringMatching(message)])
    const ended = await endOf(late('      setTimeout(() => out.emit(messages[0]), 200)'))
    expect([ended.code, ended.said]).toEqual([1, expect.stringMatching(message)])
    const swallowed = await endOf(late('      Promise.resolve().then(() => out.emit(messages[0])).catch(() => {})'))
    expect([swallowed.code, swallowed.said]).toEqual([1, expect.stringMatching(message)])
    // Between the end of the lanes and that of the pipeline.
    const closing = late('      last = () => out.emit(messages[0])')
    closing['own.js'] =
      `let last\n${closing['own.js'].replace('  }),', '    close: () => new Promise(resolve => setImmediate(() => { setImmediate(resolve); last() })),\n  }),')}`
    const closed = await endOf(closing)
    expect([closed.code, closed.said]).toEqual([1, expect.stringMatching(message.source.replace('js:7', 'js:8'))])
    for (const { said } of [soon, ended, swallowed, closed]) expect(said.match(/emit threw/g)).toHaveLength(1)
  })
})

test('other commands report the location, too', async () => {
  const files = {
    'own.js': `setTimeout(() => null.x)\nawait new Promise(r => setTimeout(r, 50))\n${TRANSFORM('own', '')}`,
    'p.yaml': PIPELINE('  - own: {}', './own.js'),
  }
  const { code, stderr } = await endOf(files, ['validate', 'p.yaml'])
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/^error: a timer or an event handler threw TypeError at own\.js:1:\d+: .*\n {2}Correct the plugin/),
  ])
})
