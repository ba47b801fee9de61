/** The open documents, their problems, and what is known of their steps. */
import { dirname, join, resolve } from 'node:path'
import type { TextDocument } from 'vscode-languageserver-textdocument'
import { type Env, NO_FILES } from '../../config/env.ts'
import type { Flow } from '../../config/flow/flow.ts'
import { type FoundSteps, type LoadOptions, loadText } from '../../config/load.ts'
import type { Problem } from '../../config/model.ts'
import { Problems } from '../../config/problems.ts'
import { readText } from '../../config/read.ts'
import { Registry } from '../../config/registry.ts'
import { isWithin } from '../../config/use.ts'
import { pipelineOf, TEST_FILE } from '../../testing/load.ts'
import { loadEnvFiles } from '../env-file.ts'
import { isCatalogText } from '../validate/files.ts'
import { validateText } from '../validate/text.ts'
import type { FileKind } from './schemas.ts'

/** What the last check of a document found. */
export interface Checked {
  readonly kind: FileKind | undefined
  readonly problems: readonly Problem[]
  /** Of the pipeline, or of the pipeline that the tests are of; of the last text that could be read. */
  readonly steps?: FoundSteps
  readonly flow?: Flow
  /** Other files that were read, by absolute path. */
  readonly uses: ReadonlySet<string>
}

export class Workspace {
  /** By absolute path. */
  readonly open = new Map<string, TextDocument>()
  readonly checked = new Map<string, Checked>()
  /** The client vouches for the files: their plugins are loaded. */
  trusted = false

  /** Text of an open document, else of the file. In an untrusted workspace, only files in the folder of `from`. */
  async text(path: string, from?: string): Promise<string | undefined> {
    const unsaved = this.unsaved(path)
    if (unsaved !== undefined) return unsaved
    if (from !== undefined && !this.trusted && !isWithin(dirname(from), path)) return undefined
    return readText(path, new Problems())
  }

  readonly unsaved = (path: string): string | undefined => this.open.get(path)?.getText()

  /** As `runner validate`, and without trust as `runner validate --no-plugins`. */
  options(base?: string): LoadOptions {
    return {
      env: this.env(),
      noPlugins: !this.trusted,
      samples: this.trusted,
      unsaved: this.unsaved,
      ...(base !== undefined && { base }),
    }
  }

  env(): Env {
    if (!this.trusted) return { ...process.env, [NO_FILES]: true as const }
    const env = { ...process.env }
    try {
      loadEnvFiles([], env)
    } catch {
      // The file is not valid: as if it was not there. Commands report it.
    }
    return env
  }

  /** Undefined: not a file of the runner. */
  kindOf(path: string, text: string): FileKind | undefined {
    if (TEST_FILE.test(path)) return 'test'
    if (isCatalogText(text)) return 'catalog'
    const has = (key: string): boolean => new RegExp(`^(?:${key})[ \\t]*:`, 'm').test(text)
    if ((has('sources') && has('sinks')) || (has('name') && has('sources|sinks|transforms|dlq'))) return 'pipeline'
    if (/^# yaml-language-server:.*pipeline\.schema\.json/m.test(text)) return 'pipeline'
    for (const { uses } of this.checked.values()) if (uses.has(path)) return 'shared'
    // While it is edited, a document stays what it was.
    return this.checked.get(path)?.kind ?? (text.trim() === '' ? 'pipeline' : undefined)
  }

  /** Checks the document as it is now; keeps the steps of an earlier text if it cannot be read. */
  async check(path: string): Promise<Checked | undefined> {
    const document = this.open.get(path)
    if (!document) return undefined
    // An edit changes the document in place.
    const { version } = document
    const text = document.getText()
    const kind = this.kindOf(path, text)
    const uses = new Set<string>()
    const before = this.checked.get(path)
    let steps = before?.steps
    let flow = before?.flow
    const options: LoadOptions = {
      ...this.options(),
      onSteps: found => (steps = found),
      onFlow: found => (flow = found),
      unsaved: used => {
        uses.add(used)
        return this.unsaved(used)
      },
    }
    let problems: readonly Problem[] = []
    if ((kind === 'pipeline' && text.trim() !== '') || kind === 'test' || kind === 'catalog')
      problems = (await validateText(path, text, kind, options)).problems
    uses.delete(path)
    const now = { kind, problems, steps, flow, uses }
    // A newer text was checked meanwhile.
    if (this.open.get(path)?.version === version) this.checked.set(path, now)
    return now
  }

  /** The check of the document as it is now. */
  async current(path: string): Promise<Checked | undefined> {
    const document = this.open.get(path)
    if (!document) return undefined
    const key = this.versions()
    const known = this.fresh.get(path)
    if (known?.key === key) return known.checking
    const checking = this.check(path)
    this.fresh.set(path, { key, checking })
    return checking
  }

  private readonly fresh = new Map<string, { readonly key: string; readonly checking: Promise<Checked | undefined> }>()
  private readonly versions = (): string => [...this.open].map(([path, { version }]) => `${path} ${version}`).join('\n')

  close(path: string): void {
    this.open.delete(path)
    this.checked.delete(path)
    this.fresh.delete(path)
  }

  /** Something on the disk has changed. */
  forget(): void {
    this.fresh.clear()
  }

  /** Open documents that read this file. */
  usersOf(path: string): string[] {
    return [...this.checked].filter(([user, { uses }]) => user !== path && uses.has(path)).map(([user]) => user)
  }

  registry(path: string): Registry {
    return this.checked.get(path)?.steps?.registry ?? new Registry()
  }

  /** The path of the pipeline that a test file is of. */
  pipelineOf(path: string, text: string): string {
    const named = /^pipeline[ \t]*:[ \t]*["']?([^"'\s#]+)/m.exec(text)?.[1]
    return named === undefined ? pipelineOf(path) : resolve(dirname(path), named)
  }

  /** The steps of the pipeline that a test file is of. */
  async stepsOf(path: string): Promise<FoundSteps | undefined> {
    const checked = await this.current(path)
    if (checked?.kind !== 'test') return checked?.steps
    const pipeline = this.pipelineOf(path, this.unsaved(path) ?? '')
    const text = await this.text(pipeline, path)
    let steps: FoundSteps | undefined
    if (text !== undefined) await loadText(pipeline, text, { ...this.options(), onSteps: found => (steps = found) })
    return steps
  }

  /** The test files beside a pipeline. */
  testsOf(path: string): string[] {
    return ['.test.yaml', '.test.yml'].map(ending => join(dirname(path), path.slice(dirname(path).length + 1).replace(/\.ya?ml$/, ending)))
  }
}
