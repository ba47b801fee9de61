/** Sample records that get through the steps: the fields that expressions read, with values of the type that they need. */
import { not, walk, type Path, type Tree } from './tree.ts'

type Value = string | number | boolean | null | Value[] | { [name: string]: Value }

const NUMBERS = new Set(['round', 'floor', 'ceil', 'abs', 'number', 'to_float', 'int64', 'to_int', 'int', 'float'])
const TEXTS = new Set(
  'uppercase upcase lowercase downcase trim strip_whitespace contains has_prefix starts_with has_suffix ends_with replace replace_all split re_match match string strlen'.split(
    ' ',
  ),
)
const LISTS = new Set(['map_each', 'filter', 'any', 'all', 'join', 'includes'])

export class Sample {
  private readonly values = new Map<string, Value>()
  private readonly made = new Set<string>()
  private whole = true

  /** A field that a step other than an expression needs. */
  set(path: Path, value: Value): void {
    const name = path.join('.')
    if (!this.whole || path.length === 0 || [...this.made].some(m => name === m || name.startsWith(`${m}.`))) return
    if (!this.values.has(name)) this.values.set(name, value)
  }

  /** A condition that the sample should meet, and its fields. */
  condition(tree: Tree): void {
    this.require(tree)
    const nodes: Tree[] = []
    walk(tree, t => void nodes.push(t))
    this.read(nodes)
  }

  require(tree: Tree, truth = true): void {
    if (tree.kind === 'not') this.require(tree.of, !truth)
    else if (tree.kind === 'field') this.set(tree.path, truth)
    else if (tree.kind === 'binary' && (tree.op === '&&' || tree.op === '||')) {
      this.require(tree.left, truth)
      if (truth === (tree.op === '&&')) this.require(tree.right, truth)
    } else if (truth) this.hint(tree)
    else if (tree.kind === 'binary') this.hint(not(tree))
  }

  /** Nodes of expressions, in any order. */
  read(nodes: readonly Tree[]): void {
    // Hints first: a field that is compared must have a value that passes.
    for (const node of nodes) this.hint(node)
    for (const node of nodes) if (node.kind === 'field') this.set(node.path, 'text')
  }

  /** A step has made these fields; without `keeps`, the others are gone. */
  make(fields: readonly string[], keeps: boolean): void {
    for (const field of fields) this.made.add(field)
    this.whole &&= keeps
  }

  private hint(node: Tree): void {
    const field = (tree: Tree | undefined, value: Value): void => {
      if (tree?.kind === 'field') this.set(tree.path, value)
      else if (tree?.kind === 'call') {
        const [x] = tree.of ? [tree.of] : tree.args
        field(x, typeof value === 'number' && tree.name.includes('size') ? 'text' : value)
      }
    }
    if (node.kind === 'binary') {
      for (const [a, b, flipped] of [
        [node.left, node.right, false],
        [node.right, node.left, true],
      ] as const) {
        if (b.kind === 'literal' && b.value !== null) field(a, passing(node.op, b.value, flipped))
        else if (['-', '*', '/', '%'].includes(node.op)) field(a, 20)
        else if (['<', '<=', '>', '>='].includes(node.op)) field(a, flipped === node.op.startsWith('<') ? 30 : 20)
      }
    } else if (node.kind === 'call') {
      const [x, other] = node.of ? [node.of, node.args[0]] : node.args
      const part = other?.kind === 'literal' && typeof other.value === 'string' ? other.value : 'text'
      if (NUMBERS.has(node.name)) field(x, 20)
      else if (node.name === 'bool' || node.name === 'to_bool') field(x, true)
      else if (LISTS.has(node.name)) field(x, [part])
      else if (TEXTS.has(node.name)) field(x, other?.kind === 'literal' ? part.replaceAll(/[\^$\\]/g, '') : 'text')
    } else if (node.kind === 'not') field(node.of, false)
    else if (node.kind === 'if') field(node.condition, true)
    else if (node.kind === 'minus') field(node.of, 20)
  }

  /** Fields at the top. */
  names(): string[] {
    const names = new Set([...this.made, ...(this.whole ? this.values.keys() : [])].map(name => name.split('.')[0]))
    return names.size > 0 ? [...names] : ['id']
  }

  /** @param texts whether each field is text, as in a CSV file */
  record(texts: boolean): Value {
    const record: { [name: string]: Value } = {}
    for (const [name, value] of this.values) {
      const parts = name.split('.')
      let at: Value = record
      for (const [i, part] of parts.entries()) {
        const last = i === parts.length - 1
        const next: Value = last ? (texts && typeof value === 'number' ? String(value) : value) : /^\d+$/.test(parts[i + 1]) ? [] : {}
        if (typeof at !== 'object' || at === null) break
        const owner = at as { [name: string]: Value }
        if (last ? owner[part] === undefined : typeof owner[part] !== 'object') owner[part] = next
        at = owner[part]
      }
    }
    return Object.keys(record).length > 0 ? record : { id: texts ? '1' : 1 }
  }
}

/** A value for which the comparison is true. */
function passing(op: string, value: string | number | boolean, flipped: boolean): Value {
  if (typeof value === 'number') {
    const up = flipped ? op.startsWith('<') : op.startsWith('>')
    if (op.startsWith('<') || op.startsWith('>')) return up ? value + 100 : value - 1
    return op === '!=' ? value + 1 : op === '==' ? value : 2
  }
  if (op === '!=') return typeof value === 'boolean' ? !value : 'text'
  return op === '==' || typeof value === 'boolean' ? value : 'text'
}
