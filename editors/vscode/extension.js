/** Starts `pipeline-runner lsp` of the workspace for its first pipeline file. */
const { spawn } = require('node:child_process')
const { commands, env, window, workspace } = require('vscode')
const { CloseAction, ErrorAction, LanguageClient } = require('vscode-languageclient/node')

const INSTALL = 'npm install --save-dev pipeline-runner vscode-languageserver vscode-languageserver-textdocument'
const LAST_LINES = 2000

/** By folder of the workspace. */
const clients = new Map()
/** Folders whose server did not start: the message is shown once. */
const failed = new Set()

/** The same rule as that of the server. Other YAML files start nothing. */
function isOurs(document) {
  if (document.languageId !== 'yaml' || document.uri.scheme !== 'file') return false
  const text = document.getText()
  const has = keys => new RegExp(`^(?:${keys})[ \\t]*:`, 'm').test(text)
  if (/\.test\.ya?ml$/.test(document.fileName)) return has('tests')
  return (has('sources') && has('sinks')) || (has('name') && has('sources|sinks|transforms|dlq'))
}

function start(folder) {
  const key = folder.uri.toString()
  if (clients.has(key) || failed.has(key)) return
  let errors = ''
  const server = () => {
    // On Windows, npx is a script of the shell. The arguments are fixed.
    const child = spawn('npx', ['--no-install', 'pipeline-runner', 'lsp'], {
      cwd: folder.uri.fsPath,
      shell: process.platform === 'win32',
    })
    child.stderr.setEncoding('utf8').on('data', text => (errors = (errors + text).slice(-LAST_LINES)))
    return Promise.resolve(child)
  }
  const plugins = workspace.isTrusted && workspace.getConfiguration('pipelineRunner', folder.uri).get('plugins') === true
  const client = new LanguageClient('pipelineRunner', 'Pipeline Runner', server, {
    documentSelector: [{ language: 'yaml', scheme: 'file', pattern: `${folder.uri.fsPath}/**/*` }],
    workspaceFolder: folder,
    initializationOptions: { plugins },
    synchronize: { fileEvents: workspace.createFileSystemWatcher('**/{*.yaml,*.yml,.env}') },
    initializationFailedHandler: () => false,
    errorHandler: {
      error: () => ({ action: ErrorAction.Continue }),
      closed: () => ({ action: CloseAction.DoNotRestart, handled: true }),
    },
  })
  clients.set(key, client)
  const fail = () => {
    if (clients.get(key) !== client) return
    clients.delete(key)
    failed.add(key)
    void explain(folder.name, errors.trim())
  }
  client.onDidChangeState(({ oldState, newState }) => newState === 1 && oldState !== 1 && fail())
  client.start().catch(fail)
}

async function explain(folder, errors) {
  const missing = errors === '' || /ERR_MODULE_NOT_FOUND|not installed|could not determine executable|canceled|not found|E404/i.test(errors)
  const lines = errors.split('\n').filter(line => line.trim() !== '')
  const said = lines.find(line => /error/i.test(line) && !/npm error (?:code|A complete log)/.test(line)) ?? lines.at(-1)
  const why = said === undefined ? '' : `: ${said}`
  const remedy = missing ? `. Run in ${folder}: ${INSTALL}` : ''
  const copy = 'Copy command'
  const again = 'Start again'
  const chosen = await window.showErrorMessage(`The language server of pipeline-runner has ended${why}${remedy}`, ...(missing ? [copy] : []), again)
  if (chosen === copy) await env.clipboard.writeText(INSTALL)
  else if (chosen === again) await restart()
}

async function restart() {
  failed.clear()
  const running = [...clients.values()]
  clients.clear()
  await Promise.allSettled(running.map(client => client.stop()))
  for (const document of workspace.textDocuments) opened(document)
}

function opened(document) {
  const folder = workspace.getWorkspaceFolder(document.uri)
  if (folder && isOurs(document)) start(folder)
}

exports.activate = context => {
  context.subscriptions.push(
    commands.registerCommand('pipelineRunner.restart', restart),
    workspace.onDidOpenTextDocument(opened),
    workspace.onDidSaveTextDocument(opened),
  )
  for (const document of workspace.textDocuments) opened(document)
}

exports.deactivate = () => {
  const running = [...clients.values()]
  clients.clear()
  return Promise.allSettled(running.map(client => client.stop()))
}
