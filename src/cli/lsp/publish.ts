/** Problems as diagnostics, each at the document that has it: a problem of a shared file is shown there, once for all pipelines. */
import { pathToFileURL } from 'node:url'
import type { Diagnostic, Range } from 'vscode-languageserver'
import type { Problem } from '../../config/model.ts'
import type { Span } from '../../config/tree.ts'
import type { Workspace } from './workspace.ts'

export class Publisher {
  /** By file, then by the document whose check found them. */
  private readonly shown = new Map<string, Map<string, readonly Diagnostic[]>>()
  private readonly space: Workspace
  private readonly send: (uri: string, diagnostics: Diagnostic[]) => void

  constructor(space: Workspace, send: (uri: string, diagnostics: Diagnostic[]) => void) {
    this.space = space
    this.send = send
  }

  async publish(path: string): Promise<void> {
    const version = this.space.open.get(path)?.version
    const known = this.space.checked.get(path)?.uses.size ?? 0
    const checked = await this.space.current(path)
    // It was changed or closed meanwhile; the next check is scheduled.
    if (!checked || this.space.open.get(path)?.version !== version) return
    const found = Map.groupBy(checked.problems, p => p.file)
    const before = [...this.shown].flatMap(([file, owners]) => (owners.has(path) ? [file] : []))
    for (const file of new Set([path, ...found.keys(), ...before])) this.set(file, path, (found.get(file) ?? []).map(diagnosticOf))
    if (checked.uses.size === known) return
    // Open files that this document uses are shared files: what was shown as if they were pipelines is withdrawn.
    for (const used of checked.uses)
      if (this.space.open.has(used) && this.space.checked.get(used)?.kind === undefined) await this.publish(used)
  }

  withdraw(owner: string): void {
    for (const [file, owners] of this.shown) if (owners.has(owner)) this.set(file, owner, [])
  }

  private set(file: string, owner: string, diagnostics: readonly Diagnostic[]): void {
    const owners = this.shown.get(file) ?? new Map<string, readonly Diagnostic[]>()
    this.shown.set(file, owners)
    if (diagnostics.length > 0) owners.set(owner, diagnostics)
    else owners.delete(owner)
    const all = [...owners.values()].flat()
    const unique = new Map(all.map(d => [JSON.stringify([d.range, d.code, d.message]), d]))
    this.send(pathToFileURL(file).href, [...unique.values()])
  }
}

const diagnosticOf = (p: Problem): Diagnostic => ({
  range: {
    start: { line: p.line - 1, character: p.column - 1 },
    end: { line: p.endLine - 1, character: p.endColumn - 1 },
  },
  severity: p.severity === 'error' ? 1 : 2,
  code: p.code,
  source: 'runner',
  message:
    p.suggestion === undefined
      ? p.message
      : `${p.message} (${p.code === 'CONFIG_MISSING_KEY' ? 'for example' : 'did you mean'}: ${p.suggestion})`,
  ...(p.fix && { data: p.fix }),
})

/** As the protocol counts: from 0, in UTF-16 code units. */
export function rangeOf({ source, start, end }: Span): Range {
  const [from, to] = [source.position(start), source.position(Math.max(start, end))]
  return { start: { line: from.line - 1, character: from.column - 1 }, end: { line: to.line - 1, character: to.column - 1 } }
}
