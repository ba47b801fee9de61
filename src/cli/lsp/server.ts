/** The language server: the protocol around the files of this folder. */
import { fileURLToPath, pathToFileURL } from 'node:url'
import type * as Protocol from 'vscode-languageserver/node'
import type { TextDocument as Document } from 'vscode-languageserver-textdocument'
import { needsPackage } from '../../kit/optional-package.ts'
import { parseText } from '../../config/parse.ts'
import { Problems } from '../../config/problems.ts'
import { SourceText } from '../../config/tree.ts'
import { type Candidate, complete } from './complete.ts'
import type { Range } from './cursor.ts'
import { definition, prepareRename, Refused, rename } from './navigate.ts'
import { Publisher, rangeOf } from './publish.ts'
import type { Outline } from './symbols.ts'
import { Workspace } from './workspace.ts'

const WHAT = 'runner lsp'
/** Longer than between two keystrokes, shorter than a look at the result. */
const DEBOUNCE_MS = 150

/** Runs until the client sends `exit` or closes the stream, which end the process. @throws {EnvironmentError} if a package is missing */
export async function serve(): Promise<never> {
  const [server, texts] = ['vscode-languageserver', 'vscode-languageserver-textdocument']
  // First: its name begins with that of the other.
  const { TextDocument } = await import('vscode-languageserver-textdocument').catch(needsPackage(texts, WHAT, [server]))
  const lsp = await import('vscode-languageserver/node').catch(needsPackage(server, WHAT, [texts]))
  const connection = lsp.createConnection(process.stdin, protocolOnly())
  const space = new Workspace()
  const documents = new lsp.TextDocuments(TextDocument)
  const publisher = new Publisher(space, (uri, diagnostics) => void connection.sendDiagnostics({ uri, diagnostics }))

  connection.onInitialize(({ initializationOptions }) => {
    space.trusted = (initializationOptions as { plugins?: unknown } | undefined)?.plugins === true
    return { capabilities: CAPABILITIES, serverInfo: { name: WHAT } }
  })

  const timers = new Map<string, NodeJS.Timeout>()
  const later = (path: string, ms: number): void => {
    clearTimeout(timers.get(path))
    timers.set(
      path,
      setTimeout(() => {
        timers.delete(path)
        publisher.publish(path).catch(error => connection.console.error(`${path}: ${(error as Error).stack ?? String(error)}`))
      }, ms),
    )
  }
  /** The version that was opened: it is announced as a change, too. */
  const opened = new Map<string, number>()
  documents.onDidOpen(({ document }) => {
    const path = pathOf(document.uri)
    if (path === undefined) return
    space.open.set(path, document)
    opened.set(path, document.version)
    later(path, 0)
  })
  documents.onDidChangeContent(({ document }) => {
    const path = pathOf(document.uri)
    if (path === undefined || opened.get(path) === document.version) return
    later(path, DEBOUNCE_MS)
    for (const user of space.usersOf(path)) later(user, DEBOUNCE_MS)
  })
  documents.onDidClose(({ document }) => {
    const path = pathOf(document.uri)
    if (path === undefined) return
    clearTimeout(timers.get(path))
    opened.delete(path)
    const users = space.usersOf(path)
    space.close(path)
    publisher.withdraw(path)
    for (const user of users) later(user, 0)
  })
  const reload = (): void => {
    space.forget()
    for (const path of space.open.keys()) later(path, DEBOUNCE_MS)
  }
  documents.onDidSave(reload)
  connection.onDidChangeWatchedFiles(reload)

  /** Calls `answer` with the document; a refusal becomes an error that the client shows. */
  const on = async <T>(
    { textDocument: { uri } }: { textDocument: { uri: string } },
    answer: (path: string, document: Document) => Promise<T>,
  ): Promise<T | null> => {
    const document = documents.get(uri)
    const path = pathOf(uri)
    if (!document || path === undefined) return null
    try {
      return await answer(path, document)
    } catch (error) {
      if (error instanceof Refused) throw new lsp.ResponseError(lsp.LSPErrorCodes.RequestFailed, error.message)
      throw error
    }
  }
  const rangeIn = (document: Document, { start, end }: Range): Protocol.Range => ({
    start: document.positionAt(start),
    end: document.positionAt(end),
  })

  connection.onCompletion(params =>
    on(params, async (path, document) => {
      const items = await complete(space, path, document.getText(), document.offsetAt(params.position))
      return { isIncomplete: false, items: items.map((item, i) => itemOf(item, i, rangeIn(document, item.range))) }
    }),
  )
  connection.onHover(params =>
    on(params, async (path, document) => {
      const { hover } = await import('./hover.ts')
      const found = await hover(space, path, document.getText(), document.offsetAt(params.position))
      return found ? { contents: { kind: 'markdown' as const, value: found.text }, range: rangeIn(document, found.range) } : null
    }),
  )
  connection.onDefinition(params =>
    on(params, async (path, document) => {
      const span = await definition(space, path, document.getText(), document.offsetAt(params.position))
      return span ? { uri: uriOf(span.source.file), range: rangeOf(span) } : null
    }),
  )
  connection.onPrepareRename(params =>
    on(params, async (path, document) => {
      const { span, name } = await prepareRename(space, path, document.getText(), document.offsetAt(params.position))
      return { range: rangeIn(document, span), placeholder: name.split('/').at(-1)! }
    }),
  )
  connection.onRenameRequest(params =>
    on(params, async (path, document) => {
      const edits = await rename(space, path, document.getText(), document.offsetAt(params.position), params.newName)
      const changes = [...edits].map(([file, spans]) => [uriOf(file), spans.map(s => ({ range: rangeOf(s), newText: params.newName }))])
      return { changes: Object.fromEntries(changes) as Record<string, Protocol.TextEdit[]> }
    }),
  )
  connection.onDocumentSymbol(params =>
    on(params, async (path, document) => {
      const { outline } = await import('./symbols.ts')
      const kind = space.kindOf(path, document.getText())
      return kind ? outline(kind, path, document.getText()).map(symbolOf) : []
    }),
  )
  connection.onDocumentFormatting(params => on(params, (path, document) => formatted(space, path, document)))
  connection.onCodeAction(params =>
    on(params, async path => {
      const { fixesFor } = await import('./fixes.ts')
      return fixesFor(space, path, params.range, params.context.diagnostics)
    }),
  )
  documents.listen(connection)
  connection.listen()
  return new Promise<never>(() => {})
}

const CAPABILITIES: Protocol.ServerCapabilities = {
  positionEncoding: 'utf-16',
  textDocumentSync: { openClose: true, change: 2, save: true },
  completionProvider: { triggerCharacters: ['.', '{', '#', ':', ' ', '/'] },
  hoverProvider: true,
  definitionProvider: true,
  renameProvider: { prepareProvider: true },
  documentSymbolProvider: true,
  documentFormattingProvider: true,
  codeActionProvider: { codeActionKinds: ['quickfix'] },
}

/** The output for the protocol. Other output, such as that of plugins, goes to standard error. */
function protocolOnly(): NodeJS.WritableStream {
  const { stdout, stderr } = process
  const write = stdout.write.bind(stdout)
  const channel = Object.create(stdout) as NodeJS.WriteStream
  channel.write = write
  stdout.write = stderr.write.bind(stderr)
  return channel
}

const pathOf = (uri: string): string | undefined => {
  try {
    return uri.startsWith('file:') ? fileURLToPath(uri) : undefined
  } catch {
    return undefined
  }
}

export const uriOf = (path: string): string => pathToFileURL(path).href

const itemOf = ({ label, kind, text, detail, about, rank = 5 }: Candidate, i: number, range: Protocol.Range): Protocol.CompletionItem => ({
  label,
  kind,
  textEdit: { range, newText: text },
  sortText: `${rank}${String(i).padStart(4, '0')}`,
  ...(detail !== undefined && { detail }),
  ...(about !== undefined && about !== '' && { documentation: { kind: 'markdown' as const, value: about } }),
})

const SYMBOL = { section: 3, part: 3, step: 12 } as const

const symbolOf = ({ name, detail, kind, whole, at, children }: Outline): Protocol.DocumentSymbol => ({
  name,
  ...(detail !== '' && { detail }),
  kind: SYMBOL[kind],
  range: rangeOf(whole),
  selectionRange: rangeOf(at),
  children: children.map(symbolOf),
})

async function formatted(space: Workspace, path: string, document: Document): Promise<Protocol.TextEdit[]> {
  const text = document.getText()
  if (space.kindOf(path, text) === undefined) throw new Refused('this is not a file of pipeline-runner, so it is not formatted')
  const problems = new Problems()
  parseText(new SourceText(path, text), problems)
  // The problems are shown at their places.
  if (!problems.empty) throw new Refused('the file is not valid YAML, so it is not formatted')
  const { formatYaml, Unformattable } = await import('../fmt/format.ts')
  try {
    const after = formatYaml(text)
    if (after === text) return []
    return [{ range: { start: { line: 0, character: 0 }, end: document.positionAt(text.length) }, newText: after }]
  } catch (error) {
    if (error instanceof Unformattable) throw new Refused(`the file is left as it is: ${error.message}`)
    throw error
  }
}
