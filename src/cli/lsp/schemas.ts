/** The schemas of a place in a file: of a pipeline with its plugins, a test file or a topic catalog. */
import testSchema from '../../../schemas/test.schema.json' with { type: 'json' }
import topicsSchema from '../../../schemas/topics.schema.json' with { type: 'json' }
import { FRAME } from '../../config/frame.ts'
import { type Kind, KINDS, type Registry } from '../../config/registry.ts'
import { alternatives, itemSchema, propertySchema, type Schema } from '../../config/schema.ts'
import type { Path, TreeNode } from '../../config/tree.ts'

export type FileKind = 'pipeline' | 'test' | 'catalog' | 'shared'

export interface Place {
  /** All alternatives of the value. */
  readonly options: readonly Schema[]
  readonly root: Schema
  /** The place is a step: a plugin is one of its keys. */
  readonly step?: { readonly kinds: readonly Kind[] }
  /** The place is the settings of a plugin, or a value in them. */
  readonly plugin?: { readonly kind: Kind; readonly type: string; readonly inside: Path }
}

const ROOTS: Readonly<Record<FileKind, Schema>> = {
  pipeline: FRAME,
  shared: { type: 'object', additionalProperties: true },
  test: testSchema as unknown as Schema,
  catalog: topicsSchema as unknown as Schema,
}

const SECTION: Readonly<Record<string, Kind>> = { sources: 'source', transforms: 'transform', sinks: 'sink' }

export async function placeAt(file: FileKind, tree: TreeNode, path: Path, registry: Registry): Promise<Place> {
  const root = ROOTS[file]
  const step = stepOn(file, path)
  if (step) {
    const [kinds, length] = step
    if (path.length === length) return { ...walk(root, tree, path), step: { kinds } }
    const type = String(path[length])
    const kind = kinds.find(k => registry.has(k, type))
    const plugin = kind && (await registry.load(kind, type))
    if (kind && plugin) {
      const schema = plugin.schema as Schema
      const inside = path.slice(length + 1)
      const place = walk(schema, at(tree, path.slice(0, length + 1)), inside)
      // A single value is that of one key.
      const { shorthand } = schema
      const short = inside.length === 0 && shorthand !== undefined ? alternatives(schema.properties?.[shorthand], schema) : []
      return { ...place, options: [...place.options, ...short], plugin: { kind, type, inside } }
    }
  }
  return walk(root, tree, path)
}

/** The kinds of the step that the path is in or at, and the length of the path of the step. */
function stepOn(file: FileKind, path: Path): [kinds: readonly Kind[], length: number] | undefined {
  const section = String(path[0])
  if (file === 'pipeline') {
    if (section === 'dlq' && path.length > 0) return [['sink'], 1]
    return path.length > 1 && Object.hasOwn(SECTION, section) ? [[SECTION[section]], inBranch(path, 2)] : undefined
  }
  if (file !== 'shared' || path.length === 0) return undefined
  // A name has a list of steps, or is a step.
  return path[1] === 'steps' && path.length > 2 ? [KINDS, 3] : path[1] === 'steps' || path[1] === 'parameters' ? undefined : [KINDS, 1]
}

/** The length of the path of the innermost step: steps of branches are steps, too. */
function inBranch(path: Path, length: number): number {
  if (path[length] !== 'route') return length
  const branch = path[length + 1] === 'branches' ? length + 2 : length + 1
  const step = branch + 2
  const inside = typeof path[branch] === 'number' && path[branch + 1] === 'steps' && typeof path[step] === 'number'
  return inside ? inBranch(path, step + 1) : length
}

function walk(root: Schema, tree: TreeNode | undefined, path: Path): Place {
  let node = tree
  let options = choices([root], root, node)
  for (const part of path) {
    const next = options.map(o => (typeof part === 'number' ? itemSchema([o], part) : propertySchema([o], part)))
    node = node && child(node, part)
    options = choices(
      next.filter(s => s !== undefined),
      root,
      node,
    )
  }
  return { options, root }
}

const child = (node: TreeNode, part: string | number): TreeNode | undefined =>
  node.kind === 'map'
    ? node.entries.get(String(part))?.value
    : node.kind === 'seq' && typeof part === 'number'
      ? node.items[part]
      : undefined

const at = (tree: TreeNode, path: Path): TreeNode | undefined =>
  path.reduce<TreeNode | undefined>((node, part) => node && child(node, part), tree)

/** All alternatives, without those that a fixed value in the file excludes. */
function choices(schemas: readonly Schema[], root: Schema, node: TreeNode | undefined): Schema[] {
  return schemas
    .flatMap(s => alternatives(s, root))
    .filter(s => {
      if (node?.kind !== 'map') return true
      return Object.entries(s.properties ?? {}).every(([key, { const: fixed }]) => {
        const value = node.entries.get(key)?.value
        return fixed === undefined || value?.kind !== 'scalar' || value.value === fixed || String(value.value).includes('x__cursor__x')
      })
    })
}
