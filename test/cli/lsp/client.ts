/** An editor: a client of `runner lsp` over its standard input and output. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { join } from 'node:path'
import { createMessageConnection, type MessageConnection, StreamMessageReader, StreamMessageWriter } from 'vscode-jsonrpc/node'
import type * as Lsp from 'vscode-languageserver-protocol'
import { eventually } from '../../support/eventually.ts'

const BIN = fileURLToPath(new URL('../../../bin/runner.js', import.meta.url))

export class Editor {
  readonly folder: string
  readonly process: ChildProcessWithoutNullStreams
  readonly exited: Promise<number | null>
  stderr = ''
  capabilities: Lsp.ServerCapabilities = {}
  private readonly connection: MessageConnection
  private readonly published = new Map<string, { readonly count: number; readonly diagnostics: Lsp.Diagnostic[] }>()
  private readonly texts = new Map<string, { version: number; text: string }>()

  constructor(folder: string, env: Record<string, string | undefined> = {}) {
    this.folder = folder
    this.process = spawn(process.execPath, [BIN, 'lsp', '--stdio'], { cwd: folder, env: { ...process.env, NO_COLOR: '1', ...env } })
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.exited = new Promise(resolve => this.process.once('close', resolve))
    this.connection = createMessageConnection(new StreamMessageReader(this.process.stdout), new StreamMessageWriter(this.process.stdin))
    this.connection.onNotification('textDocument/publishDiagnostics', ({ uri, diagnostics }: Lsp.PublishDiagnosticsParams) => {
      this.published.set(uri, { count: (this.published.get(uri)?.count ?? 0) + 1, diagnostics })
    })
    this.connection.listen()
  }

  static async start(folder: string, options: { plugins?: boolean; env?: Record<string, string | undefined> } = {}): Promise<Editor> {
    const editor = new Editor(folder, options.env)
    const { capabilities } = await editor.request<Lsp.InitializeResult>('initialize', {
      processId: process.pid,
      rootUri: pathToFileURL(folder).href,
      capabilities: {},
      ...(options.plugins && { initializationOptions: { plugins: true } }),
    })
    editor.capabilities = capabilities
    await editor.connection.sendNotification('initialized', {})
    return editor
  }

  uri(file: string): string {
    return pathToFileURL(join(this.folder, file)).href
  }

  request<T>(method: string, params: object): Promise<T> {
    return this.connection.sendRequest(method, params)
  }

  async open(file: string, text: string): Promise<void> {
    this.texts.set(file, { version: 1, text })
    await this.connection.sendNotification('textDocument/didOpen', {
      textDocument: { uri: this.uri(file), languageId: 'yaml', version: 1, text },
    })
  }

  /** Replaces the whole text, as an unsaved edit. */
  async edit(file: string, text: string): Promise<void> {
    const version = this.texts.get(file)!.version + 1
    this.texts.set(file, { version, text })
    await this.connection.sendNotification('textDocument/didChange', {
      textDocument: { uri: this.uri(file), version },
      contentChanges: [{ text }],
    })
  }

  async close(file: string): Promise<void> {
    await this.connection.sendNotification('textDocument/didClose', { textDocument: { uri: this.uri(file) } })
  }

  notify(method: string, params: object = {}): Promise<void> {
    return this.connection.sendNotification(method, params)
  }

  /** The last published problems of a file: `line:column-line:column CODE message`, counted from 0. */
  problems(file: string): string[] | undefined {
    return this.published.get(this.uri(file))?.diagnostics.map(({ range: { start, end }, code, message }) => {
      return `${start.line}:${start.character}-${end.line}:${end.character} ${String(code)} ${message}`
    })
  }

  diagnostics(file: string): Lsp.Diagnostic[] {
    return this.published.get(this.uri(file))?.diagnostics ?? []
  }

  /** Opens or edits the file, and waits until its problems are published. */
  async check(file: string, text: string): Promise<string[]> {
    const before = this.published.get(this.uri(file))?.count ?? 0
    await (this.texts.has(file) ? this.edit(file, text) : this.open(file, text))
    await eventually(
      () => {
        if ((this.published.get(this.uri(file))?.count ?? 0) <= before)
          throw new Error(`no problems of ${file} are published; ${this.stderr}`)
      },
      { interval: 10, timeout: 20_000 },
    )
    return this.problems(file)!
  }

  private at(file: string, position: Lsp.Position): object {
    return { textDocument: { uri: this.uri(file) }, position }
  }

  /** Puts `text` into the file, with the cursor where `|` is. @returns the parameters of a request there */
  async cursor(file: string, marked: string): Promise<object> {
    const offset = marked.indexOf('|')
    const text = marked.slice(0, offset) + marked.slice(offset + 1)
    await (this.texts.has(file) ? this.edit(file, text) : this.open(file, text))
    return this.at(file, positionIn(text, offset))
  }

  /** The labels of the completion at `|`, and the text after each is accepted. */
  async complete(file: string, marked: string): Promise<Map<string, string>> {
    const params = await this.cursor(file, marked)
    const { items } = await this.request<Lsp.CompletionList>('textDocument/completion', params)
    const { text } = this.texts.get(file)!
    return new Map(
      items.toSorted((a, b) => (a.sortText! < b.sortText! ? -1 : 1)).map(i => [i.label, applied(text, [i.textEdit as Lsp.TextEdit])]),
    )
  }

  async hover(file: string, marked: string): Promise<string | undefined> {
    const found = await this.request<Lsp.Hover | null>('textDocument/hover', await this.cursor(file, marked))
    return found ? (found.contents as Lsp.MarkupContent).value : undefined
  }

  async definition(file: string, marked: string): Promise<string | undefined> {
    const found = await this.request<Lsp.Location | null>('textDocument/definition', await this.cursor(file, marked))
    if (!found) return undefined
    const { start } = found.range
    return `${found.uri.slice(this.uri('').length).replace(/^\//, '')}:${start.line}:${start.character}`
  }

  /** The files after the rename of what is at `|`. @throws {Error} with the reason of a refusal */
  async rename(file: string, marked: string, newName: string): Promise<Record<string, string>> {
    const params = await this.cursor(file, marked)
    await this.request('textDocument/prepareRename', params)
    const { changes } = await this.request<Lsp.WorkspaceEdit>('textDocument/rename', { ...params, newName })
    return Object.fromEntries(
      Object.entries(changes!).map(([uri, edits]) => [uri.slice(this.uri('').length).replace(/^\//, ''), this.after(uri, edits)]),
    )
  }

  after(uri: string, edits: readonly Lsp.TextEdit[]): string {
    const file = [...this.texts].find(([name]) => this.uri(name) === uri)
    return file ? applied(file[1].text, edits) : JSON.stringify(edits)
  }

  text(file: string): string {
    return this.texts.get(file)!.text
  }

  async shutdown(): Promise<number | null> {
    await this.request('shutdown', {})
    await this.connection.sendNotification('exit')
    return this.exited
  }
}

/** As the protocol counts: lines end with \n, \r\n or \r, characters are UTF-16 code units. */
export function positionIn(text: string, offset: number): Lsp.Position {
  const before = text.slice(0, offset).split(/\r\n|\n|\r/)
  return { line: before.length - 1, character: before.at(-1)!.length }
}

export function applied(text: string, edits: readonly Lsp.TextEdit[]): string {
  const starts = [0, ...[...text.matchAll(/\r\n|\n|\r/g)].map(m => m.index + m[0].length)]
  const offset = ({ line, character }: Lsp.Position): number => starts[line] + character
  return edits
    .toSorted((a, b) => offset(b.range.start) - offset(a.range.start))
    .reduce((done, { range, newText }) => done.slice(0, offset(range.start)) + newText + done.slice(offset(range.end)), text)
}
