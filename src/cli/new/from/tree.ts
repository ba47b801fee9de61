/** Expressions of Bloblang and VRL as one tree, and the places of the record that they read. */

export type Tree =
  | { readonly kind: 'literal'; readonly value: string | number | boolean | null }
  | { readonly kind: 'regex'; readonly pattern: string }
  /** A field of the record that comes in; an empty path is the whole record. */
  | { readonly kind: 'field'; readonly path: Path }
  | { readonly kind: 'meta'; readonly name: string }
  | { readonly kind: 'env'; readonly name: string }
  /** A parameter of a lambda. */
  | { readonly kind: 'local'; readonly name: string }
  | { readonly kind: 'not' | 'minus'; readonly of: Tree }
  | { readonly kind: 'binary'; readonly op: string; readonly left: Tree; readonly right: Tree }
  /** `of` is undefined for a function. */
  | { readonly kind: 'call'; readonly name: string; readonly of?: Tree; readonly args: readonly Tree[] }
  | { readonly kind: 'lambda'; readonly name: string; readonly body: Tree }
  | { readonly kind: 'index'; readonly of: Tree; readonly at: Tree }
  | { readonly kind: 'member'; readonly of: Tree; readonly name: string }
  | { readonly kind: 'if'; readonly condition: Tree; readonly yes: Tree; readonly otherwise: Tree }
  | { readonly kind: 'list'; readonly items: readonly Tree[] }
  | { readonly kind: 'object'; readonly entries: readonly (readonly [string, Tree])[] }
  /** Removes the record, or the field it is assigned to. */
  | { readonly kind: 'deleted' }
  /** The branch of an `if` without `else`. */
  | { readonly kind: 'nothing' }

export type Path = readonly (string | number)[]

/** What has no translation, with the reason. */
export class Untranslatable extends Error {}

export const literal = (value: string | number | boolean | null): Tree => ({ kind: 'literal', value })
const OPPOSITES: Readonly<Record<string, string>> = { '==': '!=', '!=': '==', '<': '>=', '>=': '<', '>': '<=', '<=': '>' }
/** The opposite, without a `!` where that is possible. */
export function not(of: Tree): Tree {
  if (of.kind === 'not') return of.of
  return of.kind === 'binary' && Object.hasOwn(OPPOSITES, of.op) ? { ...of, op: OPPOSITES[of.op] } : { kind: 'not', of }
}

/** The tree with other nodes in the place of some. */
export function replaced(tree: Tree, change: (tree: Tree) => Tree | undefined): Tree {
  const of = (t: Tree): Tree => replaced(t, change)
  const other = change(tree)
  if (other !== undefined) return other
  switch (tree.kind) {
    case 'not':
    case 'minus':
      return { ...tree, of: of(tree.of) }
    case 'binary':
      return { ...tree, left: of(tree.left), right: of(tree.right) }
    case 'call':
      return { ...tree, ...(tree.of && { of: of(tree.of) }), args: tree.args.map(of) }
    case 'lambda':
      return { ...tree, body: of(tree.body) }
    case 'index':
      return { ...tree, of: of(tree.of), at: of(tree.at) }
    case 'member':
      return { ...tree, of: of(tree.of) }
    case 'if':
      return { ...tree, condition: of(tree.condition), yes: of(tree.yes), otherwise: of(tree.otherwise) }
    case 'list':
      return { ...tree, items: tree.items.map(of) }
    case 'object':
      return { ...tree, entries: tree.entries.map(([key, value]) => [key, of(value)] as const) }
    default:
      return tree
  }
}

/** Calls back for each node. */
export const walk = (tree: Tree, visit: (tree: Tree) => void): void =>
  void replaced(tree, t => {
    visit(t)
    return undefined
  })
