/**
 * The pictures of README and the guide: sessions on a terminal, which `script` of util-linux makes, drawn as SVG in the colors of the output. The commands
 * of a session appear one after the other. Times and durations are fixed, so that a picture changes only with the output. The demo is not on a
 * terminal: the status lines that its commands would redraw there are not a part of the picture.
 *
 * Usage: npx node scripts/picture.js [--check] [NAME...]
 *   --check  write nothing; exit with 1 if a picture is out of date
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const WIDTH = 100
const BARS = ['pipelines/bars.yaml', 'pipelines/bars.test.yaml']

const trade = (seconds, price, more = {}) => JSON.stringify({ symbol: 'BTCUSDT', price, volume: 1, ts: seconds * 1000, ...more })
/** Fills the topic of the ticks; two of them have an invalid price. */
const LOAD = {
  'load.yaml': 'name: load\nsources: [{ file: { path: ticks.jsonl } }]\nsinks: [{ kafka: { topic: ticks.BTCUSDT, key: symbol } }]\n',
}
const TICKS = {
  'ticks.jsonl': [
    [0, 100],
    [20, 0],
    [40, 102],
    [65, 101],
    [90, -1],
    [125, 99],
  ]
    .map(([s, price]) => `${trade(s, price)}\n`)
    .join(''),
}

/**
 * `type` is typed; `hidden` is not shown. `edit` changes the file before the command, which is shown as its comment.
 * `from` and `lines` pick lines of the output; negative `lines` are the last ones. `parts` are such picks of the output of one script.
 * `varies` is what `--check` leaves out of the comparison.
 */
const PICTURES = {
  terminal: {
    label:
      'A terminal: validate reports a typo with its line, column and a suggestion; explain prints the delivery guarantee; test runs the tests of the pipeline',
    files: BARS,
    session: [
      {
        edit: text => text.replace('interval:', 'intervall:'),
        comment: 'a typo in bars.yaml',
        type: 'runner validate bars.yaml',
        lines: 4,
      },
      { edit: text => text.replace('intervall:', 'interval:'), comment: 'fixed', type: 'runner validate bars.yaml' },
      { type: 'runner explain bars.yaml', from: /●/, lines: 6 },
      { type: 'runner test bars.yaml', lines: -4 },
    ],
  },
  validate: {
    label: 'A terminal: validate reports two problems of a file, each with its position, the line and a fix',
    files: BARS,
    session: [
      {
        edit: text => text.replace('interval:', 'intervall:').replace('exactly_once', 'exactly-once'),
        type: 'runner validate bars.yaml',
      },
      {
        edit: text => text.replace('intervall:', 'interval:').replace('exactly-once', 'exactly_once'),
        comment: 'fixed',
        type: 'runner validate .',
      },
    ],
  },
  explain: {
    label: 'A terminal: explain prints the graph of a pipeline, its delivery guarantees with reasons, and its state',
    files: BARS,
    session: [{ type: 'runner explain bars.yaml', to: /^Steps/ }],
  },
  check: {
    label: 'A terminal: check prints a line per check of each step; one fails, with what to do',
    files: BARS,
    write: { 'copy.yaml': 'name: copy\nsources: [{ file: { path: in.jsonl } }]\nsinks: [{ stdout: {} }]\n' },
    session: [
      { hidden: 'runner topics create ticks.BTCUSDT' },
      { type: 'runner check bars.yaml' },
      { type: 'runner check copy.yaml --quiet' },
    ],
  },
  test: {
    label: 'A terminal: test runs the tests of a pipeline; one fails, with the expected and the actual value',
    files: BARS,
    session: [
      { type: 'runner test bars.yaml', lines: -5 },
      {
        file: 'bars.test.yaml',
        edit: text => text.replace('volume: 8,', 'volume: 9,'),
        comment: 'a wrong expectation',
        type: 'runner test bars.yaml --quiet',
      },
    ],
  },
  lag: {
    label: 'A terminal: lag prints the committed offset, the checkpoint, the end and the lag of each lane',
    files: BARS,
    write: { ...LOAD, ...TICKS },
    session: [
      { hidden: 'runner run load.yaml' },
      { hidden: 'runner run bars.yaml --until-idle 1s' },
      { hidden: 'runner run load.yaml --fresh' },
      { type: 'runner lag bars.yaml' },
      { type: 'runner lag bars.yaml --fail-above 5' },
    ],
  },
  dlq: {
    label: 'A terminal: dlq ls lists dead letters with the failed step and the error; dlq replay prints what a replay would write',
    files: BARS,
    write: { ...LOAD, ...TICKS },
    session: [
      { hidden: 'runner run load.yaml' },
      { hidden: 'runner run bars.yaml --until-idle 1s' },
      { type: 'runner dlq ls bars.yaml' },
      { type: 'runner dlq replay bars.yaml --to source --dry-run' },
    ],
  },
  demo: {
    label: 'A terminal: demo prints the graph of a pipeline, bars of two hours of ticks, and why records became dead letters',
    script: 'examples/demo/demo.ts',
    type: 'npm run demo',
    parts: [
      { from: /^1\. /, lines: 10 },
      { from: /^2\. /, lines: 14 },
      { from: /^3\. /, lines: 9 },
    ],
    // The demo ends after two seconds of silence: on a machine that stops it for so long, it counts less.
    varies: /\d+(?= bars and )|\d+(?= dead letters)|\d+(?= {2}(?:decode|data|late): )/g,
  },
}

/** Output with what differs from run to run made equal. */
const stable = text =>
  text
    // oxlint-disable-next-line no-control-regex
    .replaceAll(/ +(?:\u001b\[2m)?\d+ ms(?:\u001b\[22m)?$/gm, '')
    .replaceAll(/ in \d+\.\d s\b/g, '')
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, '2026-01-31T12:00:07Z')

const shown = text =>
  text
    .split('\n')
    .map(line => line.trimEnd())
    .filter(line => line !== '')

/** The picked lines. @returns {string[]} */
function pick(all, { from, to, lines }) {
  const start = from ? all.findIndex(line => from.test(plain(line))) : 0
  const end = to ? all.findIndex(line => to.test(plain(line))) : all.length
  const part = all.slice(start, end)
  return lines === undefined ? part : lines < 0 ? part.slice(lines) : part.slice(0, lines)
}

/** @returns {{ typed: boolean, text: string }[][]} the command, then its output by part. */
function recordScript({ script, type, parts }) {
  const { PATH, HOME } = process.env
  const env = { PATH, HOME, TZ: 'UTC', FORCE_COLOR: '1' }
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { cwd: ROOT, encoding: 'utf8', env })
  if (status !== 0) throw new Error(`${script}: ${stderr}`)
  const all = shown(stable(stdout))
  return [[{ typed: true, text: `$ ${type}` }], ...parts.map(part => pick(all, part).map(text => ({ typed: false, text })))]
}

/** @returns {{ typed: boolean, text: string }[][]} the lines of each command. */
function recordSession({ files, write = {}, session }) {
  const folder = mkdtempSync(join(tmpdir(), 'picture-'))
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    TERM: 'xterm-256color',
    TZ: 'UTC',
    KAFKA_BROKERS: 'embedded',
    KAFKA_METRICS_ENABLED: 'false',
  }
  const bin = `${process.execPath} ${join(ROOT, 'bin/runner.js')}`
  const onTerminal = command => {
    const line = `stty cols ${WIDTH} rows 50; ${command.replace(/^runner/, bin)}`
    const { stdout, error } = spawnSync('script', ['-qec', line, '/dev/null'], { cwd: folder, encoding: 'utf8', env })
    if (error) throw error
    return stable(stdout.replaceAll(folder, '/home/me/pipelines').replaceAll('\r\n', '\n'))
  }
  const inBackground = command => {
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'bin/runner.js'), ...command.split(' ').slice(1)], {
      cwd: folder,
      encoding: 'utf8',
      env,
    })
    if (status !== 0) throw new Error(`${command}: ${stderr}`)
  }
  try {
    for (const file of files) cpSync(join(ROOT, file), join(folder, file.split('/').at(-1)))
    for (const [file, text] of Object.entries(write)) writeFileSync(join(folder, file), text)
    return session.flatMap(({ file = 'bars.yaml', edit, comment, hidden, type, from, to, lines }) => {
      if (edit) writeFileSync(join(folder, file), edit(readFileSync(join(folder, file), 'utf8')))
      if (hidden !== undefined) {
        inBackground(hidden)
        return []
      }
      const part = pick(shown(onTerminal(type)), { from, to, lines })
      return [[{ typed: true, text: `$ ${type}${comment ? `   # ${comment}` : ''}` }, ...part.map(text => ({ typed: false, text }))]]
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the sequences of colors begin with one.
// oxlint-disable-next-line no-control-regex
const SEQUENCE = /\u001b\[(\d+)m/
const plain = line => line.replaceAll(new RegExp(SEQUENCE, 'g'), '')
const escaped = text => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** The parts of a line with their style, cut at the width of the picture. */
function spans(line) {
  const style = { bold: false, dim: false, color: undefined }
  const parts = line.split(SEQUENCE)
  let left = WIDTH
  let drawn = ''
  for (const [i, part] of parts.entries()) {
    if (i % 2 === 1) {
      const code = Number(part)
      if (code === 0 || code === 22) style.bold = style.dim = false
      if (code === 0 || code === 39) style.color = undefined
      if (code === 1) style.bold = true
      if (code === 2) style.dim = true
      if (code === 36) style.color = '#56d4dd'
      if (code === 31) style.color = '#ff7b72'
      continue
    }
    if (part === '' || left === 0) continue
    const text = part.length > left ? `${part.slice(0, left - 1)}…` : part
    left -= text.length
    const attributes = `${style.color ? ` fill="${style.color}"` : style.dim ? ' fill="#7d8590"' : ''}${style.bold ? ' font-weight="bold"' : ''}`
    drawn += attributes === '' ? escaped(text) : `<tspan${attributes}>${escaped(text)}</tspan>`
  }
  return drawn
}

function draw(label, commands) {
  const size = 13
  const height = 19
  const rows = commands.reduce((n, lines) => n + lines.length + 1, 0)
  const total = { x: Math.round(WIDTH * size * 0.602) + 40, y: rows * height + 44 }
  let row = 0
  const groups = commands.map((lines, i) => {
    const texts = lines.map(
      ({ typed, text }) =>
        `    <text x="20" y="${52 + height * row++}" fill="${typed ? '#e6edf3' : '#b1bac4'}"${typed ? ' font-weight="bold"' : ''}>${spans(text)}</text>`,
    )
    row++
    return `  <g style="animation-delay: ${(i * 1.2).toFixed(1)}s">\n${texts.join('\n')}\n  </g>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${total.x}" height="${total.y}" viewBox="0 0 ${total.x} ${total.y}" role="img" aria-label="${escaped(label)}">
  <style>
    text { font: ${size}px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre }
    g { animation: appear 0.3s both }
    @keyframes appear { from { opacity: 0 } }
    @media (prefers-reduced-motion: reduce) { g { animation: none } }
  </style>
  <rect width="100%" height="100%" rx="8" fill="#0d1117"/>
  <g fill="#30363d"><circle cx="22" cy="18" r="5"/><circle cx="40" cy="18" r="5"/><circle cx="58" cy="18" r="5"/></g>
${groups.join('\n')}
</svg>
`
}

const check = process.argv.includes('--check')
const names = process.argv.slice(2).filter(arg => !arg.startsWith('--'))
for (const name of names.length > 0 ? names : Object.keys(PICTURES)) {
  const file = join(ROOT, 'docs/img', `${name}.svg`)
  const { label, script, varies } = PICTURES[name]
  const picture = draw(label, script ? recordScript(PICTURES[name]) : recordSession(PICTURES[name]))
  const compared = text => (varies ? text.replaceAll(varies, 'N') : text)
  if (!check) writeFileSync(file, picture)
  else if (compared(readFileSync(file, 'utf8')) !== compared(picture)) {
    console.error(`docs/img/${name}.svg is out of date: run \`npx node scripts/picture.js ${name}\``)
    process.exitCode = 1
  }
}
