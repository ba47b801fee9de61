/**
 * The picture of README: a terminal session, run for real and drawn as SVG. Lines appear one command after the other.
 *
 * Usage: npx node scripts/picture.js [--check]
 *   --check  write nothing; exit with 1 if the picture is out of date
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const FILE = join(ROOT, 'docs/img/terminal.svg')
const WIDTH = 100
/** What is typed; `edit` changes a file before the command, which is shown as its comment. */
const SESSION = [
  { edit: text => text.replace('interval:', 'intervall:'), comment: 'a typo in bars.yaml', type: 'runner validate bars.yaml', lines: 4 },
  { edit: text => text.replace('intervall:', 'interval:'), comment: 'fixed', type: 'runner validate bars.yaml' },
  { type: 'runner explain bars.yaml', from: /●/, lines: 6 },
  { type: 'runner test bars.yaml', lines: -4 },
]

/** @returns {{ typed: boolean, text: string }[][]} the lines of each command. */
function record() {
  const folder = mkdtempSync(join(tmpdir(), 'picture-'))
  try {
    for (const file of ['bars.yaml', 'bars.test.yaml']) cpSync(join(ROOT, 'pipelines', file), join(folder, file))
    return SESSION.map(({ edit, comment, type, from, lines }) => {
      const file = join(folder, 'bars.yaml')
      if (edit) writeFileSync(file, edit(readFileSync(file, 'utf8')))
      const { stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'bin/runner.js'), ...type.split(' ').slice(1)], {
        cwd: folder,
        encoding: 'utf8',
        env: { PATH: process.env.PATH, HOME: folder, NO_COLOR: '1', RUNNER_STATE_DIR: join(folder, 'state') },
      })
      const all = `${stdout}${stderr}`
        .split('\n')
        .map(line => line.trimEnd().replace(/ +\d+ ms$/, ''))
        .filter(line => line !== '')
      const start = from ? all.findIndex(line => from.test(line)) : 0
      const shown = lines === undefined ? all.slice(start) : lines < 0 ? all.slice(lines) : all.slice(start, start + lines)
      return [
        { typed: true, text: `$ ${type}${comment ? `   # ${comment}` : ''}` },
        ...shown.map(line => ({ typed: false, text: line.length > WIDTH ? `${line.slice(0, WIDTH - 1)}…` : line })),
      ]
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const escaped = text => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** One accent color; what a color says is also in words. */
function draw(commands) {
  const size = 13
  const height = 19
  const rows = commands.reduce((n, lines) => n + lines.length + 1, 0)
  const total = { x: Math.round(WIDTH * size * 0.602) + 40, y: rows * height + 44 }
  let row = 0
  const groups = commands.map((lines, i) => {
    const texts = lines.map(({ typed, text }) => {
      const color = typed
        ? '#e6edf3'
        : /\^|unknown|did you mean/.test(text)
          ? '#ffa657'
          : /\bok$|passed|exactly once|✓/.test(text)
            ? '#7ee787'
            : '#9da7b3'
      return `    <text x="20" y="${52 + height * row++}" fill="${color}"${typed ? ' font-weight="bold"' : ''}>${escaped(text)}</text>`
    })
    row++
    return `  <g style="animation-delay: ${(i * 1.2).toFixed(1)}s">\n${texts.join('\n')}\n  </g>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${total.x}" height="${total.y}" viewBox="0 0 ${total.x} ${total.y}" role="img" aria-label="A terminal: validate reports a typo with its line, column and a suggestion; explain prints the delivery guarantee; test runs the tests of the pipeline">
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

const picture = draw(record())
if (process.argv.includes('--check')) {
  if (readFileSync(FILE, 'utf8') !== picture) {
    console.error('docs/img/terminal.svg is out of date: run `npx node scripts/picture.js`')
    process.exitCode = 1
  }
} else writeFileSync(FILE, picture)
