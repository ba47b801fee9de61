/** Completion scripts. They hold all words, so that Tab starts no process. */

export interface Node {
  readonly name: string
  readonly description: string
  readonly commands: readonly Node[]
  readonly options: readonly {
    readonly long: string
    readonly short?: string
    readonly description: string
    readonly choices: readonly string[]
    readonly takesValue: boolean
  }[]
  /** Of its argument. Without any, file names are completed. */
  readonly choices: readonly string[]
}

/** In single quotes, of each shell's kind. */
const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`
const quoteFish = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`

const PROGRAMS = ['runner', 'pipeline-runner']

/** Each command with its words: `dlq ls`. The root is the empty text. */
const paths = (node: Node, at: readonly string[] = []): [path: string, Node][] => [
  [at.join(' '), node],
  ...node.commands.flatMap(command => paths(command, [...at, command.name])),
]

const words = (node: Node): string =>
  [...node.commands.map(c => c.name), ...node.choices, ...node.options.flatMap(o => [o.long, ...(o.short ? [o.short] : [])])].join(' ')

/** The command among the words before the cursor, and what can follow it. `before`: these words; `previous`: the last of them. */
const lookup = (root: Node, before: string, previous: string): string => {
  const all = paths(root)
  const found = (key: string, list: string): string => `    ${quote(key)}) found=${quote(list)} ;;`
  const values = all.flatMap(([path, node]) =>
    node.options.filter(o => o.choices.length > 0).map(o => found(`${path} ${o.long}`.trim(), o.choices.join(' '))),
  )
  return `  local word route="" found="" known=${quote(` ${all.map(([path]) => path.replaceAll(' ', '/')).join(' ')} `)}
  for word in ${before}; do
    case "$known" in *" \${route:+$route/}$word "*) route="\${route:+$route/}$word" ;; esac
  done
  route="\${route/\\// }"
  case "\${route:+$route }${previous}" in
${values.join('\n')}
  esac
  if [ -z "$found" ]; then case "$route" in
${all.map(([path, node]) => found(path, words(node))).join('\n')}
  esac; fi`
}

export const bash = (root: Node): string => `# Completion of runner for bash.
_runner() {
${lookup(root, '"${COMP_WORDS[@]:1:COMP_CWORD-1}"', '${COMP_WORDS[COMP_CWORD-1]}')}
  COMPREPLY=($(compgen -W "$found" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _runner ${PROGRAMS.join(' ')}
`

export const zsh = (root: Node): string => `# Completion of runner for zsh.
_runner() {
${lookup(root, '"${(@)words[2,CURRENT-1]}"', '${words[CURRENT-1]}')}
  compadd -- \${=found}
  _files
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _runner ${PROGRAMS.join(' ')}
`

export function fish(root: Node): string {
  const lines: string[] = []
  for (const [path, node] of paths(root)) {
    const seen =
      path === ''
        ? '__fish_use_subcommand'
        : path
            .split(' ')
            .map(word => `__fish_seen_subcommand_from ${word}`)
            .join('; and ')
    for (const program of PROGRAMS) {
      const head = `complete -c ${program} -n ${quoteFish(seen)}`
      for (const c of node.commands) lines.push(`${head} -f -a ${c.name} -d ${quoteFish(c.description)}`)
      for (const choice of node.choices) lines.push(`${head} -f -a ${quoteFish(choice)}`)
      for (const o of node.options) {
        const value = o.choices.length > 0 ? ` -x -a ${quoteFish(o.choices.join(' '))}` : o.takesValue ? ' -r' : ''
        lines.push(`${head} -l ${o.long.slice(2)}${o.short ? ` -s ${o.short.slice(1)}` : ''}${value} -d ${quoteFish(o.description)}`)
      }
    }
  }
  return `# Completion of runner for fish.\n${lines.join('\n')}\n`
}
