/** `runner run` on a terminal, which `script` of util-linux makes. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'

const BIN = fileURLToPath(new URL('../../bin/runner.js', import.meta.url))

test.skipIf(process.platform !== 'linux')('log lines stay on the screen: the status is drawn below them, not over them', async () => {
  const [nobody] = await freePorts(1)
  const generate = 'sources: [{ generate: { fields: { n: { sequence: 0 } }, rate: 100 } }]'
  const cwd = tempDir({
    'busy.yaml': `name: busy\n${generate}\nsinks: [{ file: { path: out.jsonl } }]\n`,
    'stuck.yaml': `name: stuck\n${generate}\nsinks: [{ http: { url: "http://127.0.0.1:${nobody}/" } }]\n`,
  })
  const command = `stty cols 120 rows 40; exec ${process.execPath} ${BIN} run busy.yaml stuck.yaml`
  const terminal = spawn('script', ['-qefc', command, '/dev/null'], {
    cwd,
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { ...process.env, TERM: 'xterm' },
  })
  onTestFinished(() => void terminal.kill())
  let screen = ''
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => (screen += text))
  // From a status, over a log line, to the next status.
  const between = /busy {2}in \d[^]*?trying again(?<after>[^]*?)busy {2}in \d/
  await expect.poll(() => screen).toMatch(between)
  expect(between.exec(screen)!.groups!.after.replaceAll('\u001b', 'ESC')).not.toMatch(/ESC\[\d*A/)
})
