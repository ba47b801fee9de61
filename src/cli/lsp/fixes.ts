/** Quick fixes from the suggestions of problems. A fix is offered only if the problem is gone after it. */
import { pathToFileURL } from 'node:url'
import type { CodeAction, Diagnostic, Range } from 'vscode-languageserver'
import type { Problem } from '../../config/model.ts'
import { SourceText } from '../../config/tree.ts'
import { validateText } from '../validate/text.ts'
import type { Workspace } from './workspace.ts'

/** Each is tried, so there is a limit. */
const MOST = 20

export async function fixesFor(space: Workspace, path: string, range: Range, diagnostics: readonly Diagnostic[]): Promise<CodeAction[]> {
  const owners = [path, ...space.usersOf(path)]
  const actions = new Map<string, CodeAction>()
  for (const owner of owners) {
    const problems = ((await space.current(owner))?.problems ?? []).filter(p => p.file === path && p.fix && touches(p, range))
    for (const problem of problems.slice(0, MOST)) {
      const { fix } = problem
      const id = JSON.stringify(fix)
      if (!fix || actions.has(id) || !(await helps(space, owner, path, problem))) continue
      actions.set(id, {
        title: `write ${fix.text}`,
        kind: 'quickfix',
        diagnostics: diagnostics.filter(
          d => d.code === problem.code && d.range.start.line === problem.line - 1 && d.range.start.character === problem.column - 1,
        ),
        isPreferred: true,
        edit: {
          changes: {
            [pathToFileURL(path).href]: [
              {
                range: {
                  start: { line: fix.line - 1, character: fix.column - 1 },
                  end: { line: fix.endLine - 1, character: fix.endColumn - 1 },
                },
                newText: fix.text,
              },
            ],
          },
        },
      })
    }
  }
  return [...actions.values()]
}

const touches = (p: Problem, { start, end }: Range): boolean => p.line - 1 <= end.line && p.endLine - 1 >= start.line

async function helps(space: Workspace, owner: string, path: string, problem: Problem): Promise<boolean> {
  const text = space.unsaved(path)
  const kind = space.checked.get(owner)?.kind
  if (text === undefined || kind === undefined || kind === 'shared') return false
  const { line, column, endLine, endColumn, text: inserted } = problem.fix!
  const source = new SourceText(path, text)
  const [start, end] = [source.lineStart(line) + column - 1, source.lineStart(endLine) + endColumn - 1]
  const after = text.slice(0, start) + inserted + text.slice(end)
  const unsaved = (file: string): string | undefined => (file === path ? after : space.unsaved(file))
  const { problems } = await validateText(owner, unsaved(owner) ?? '', kind, { ...space.options(), unsaved })
  return !problems.some(
    p => p.code === problem.code && p.file === path && p.line === line && p.column === column && p.message === problem.message,
  )
}
