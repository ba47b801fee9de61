/** Links in the documentation are valid: their files and headings exist. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { cwd: root, encoding: 'utf8' })
  .split('\n')
  .filter(file => file !== '' && existsSync(join(root, file)))

/** Without code, in which a bracket is not a link. */
const prose = (text: string): string => text.replace(/^(```|~~~)[^]*?^\1/gm, '').replace(/`[^`\n]*`/g, '`code`')

/** The anchors that GitHub makes of headings. */
function anchors(text: string): Set<string> {
  const found = new Set<string>()
  for (const [, heading] of text.replace(/^(```|~~~)[^]*?^\1/gm, '').matchAll(/^#{1,6} (.+)$/gm)) {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[`*]/g, '')
    const slug = plain
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-')
    let name = slug
    for (let n = 1; found.has(name); n++) name = `${slug}-${n}`
    found.add(name)
  }
  for (const [, id] of text.matchAll(/<a (?:id|name)="([^"]+)"/g)) found.add(id)
  return found
}

test('the documentation exists', () => {
  expect(files).toEqual(expect.arrayContaining(['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'docs/guide/plugins.md']))
})

test.each(files)('links of %s exist', file => {
  const broken: string[] = []
  for (const [, target] of prose(readFileSync(join(root, file), 'utf8')).matchAll(/\]\(<?([^)\s>]+)>?(?: "[^"]*")?\)/g)) {
    if (/^[a-z][a-z0-9+.-]*:/i.test(target)) continue
    const [path, anchor] = decodeURI(target).split('#')
    const full = path === '' ? join(root, file) : join(root, dirname(file), path)
    if (relative(root, full).startsWith('..') || !existsSync(full)) broken.push(`${target}: no such file`)
    else if (anchor && statSync(full).isFile() && full.endsWith('.md') && !anchors(readFileSync(full, 'utf8')).has(anchor))
      broken.push(`${target}: no such heading`)
  }
  expect(broken).toEqual([])
})

test('the overview of the documentation links every page of the guide', () => {
  const overview = readFileSync(join(root, 'docs/README.md'), 'utf8')
  const pages = files.filter(file => file.startsWith('docs/guide/'))
  expect(pages.length).toBeGreaterThan(10)
  expect(pages.filter(page => !overview.includes(`(${page.replace('docs/', '')})`))).toEqual([])
})

test('README lists the commands of `runner --help`, in the same groups and in this order', () => {
  // They have no line in `runner --help`.
  const unlisted = [
    ...(/^const UNLISTED.*$/m.exec(readFileSync(join(root, 'src/cli/main.ts'), 'utf8'))?.[0] ?? '').matchAll(/(\w+): \(\) =>/g),
  ].map(m => m[1])
  const table = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/^\| \*\*(Author|Run|Operate|Shell)\*\* \| (.*) \|$/gm)]
  const listed = table.map(([, group, cell]) => [
    group,
    [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name).filter(name => !unlisted.includes(name)),
  ])
  const source = readFileSync(join(root, 'src/cli/main.ts'), 'utf8')
  const groups = [...source.matchAll(/^ {2}(\w+): \{\n((?: {4}\w+: \(\) => import.*\n)+)/gm)]
  const commands = groups.map(([, group, lines]) => [group, [...lines.matchAll(/^ {4}(\w+):/gm)].map(([, name]) => name)])
  expect(commands.length).toBeGreaterThan(3)
  expect(listed).toEqual(commands)
})
