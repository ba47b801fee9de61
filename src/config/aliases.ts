/** Renamed keys: the old name is read as the new one, with a warning. */
import type { Problems } from './problems.ts'
import { alternatives, itemSchema, propertySchema, type Schema } from './schema.ts'
import type { MapEntry, Path, TreeNode } from './tree.ts'

/** The tree with the current names. Positions stay those of the file, so problems refer to its text. */
export function renameOldKeys(node: TreeNode, schema: Schema | undefined, root: Schema, path: Path, problems: Problems): TreeNode {
  if (node.kind === 'scalar' || schema === undefined) return node
  const schemas = alternatives(schema, root)
  if (node.kind === 'seq')
    return { ...node, items: node.items.map((item, i) => renameOldKeys(item, itemSchema(schemas, i), root, [...path, i], problems)) }
  const today = oldNames(schemas, root)
  const entries = new Map<string, MapEntry>()
  for (const [key, entry] of node.entries) {
    const name = today.get(key) ?? key
    if (name !== key) {
      if (node.entries.has(name)) {
        const message = `${key} is the old name of ${name}, and ${name} is set too: remove ${key}`
        problems.add('CONFIG_DUPLICATE_KEY', entry.key, [...path, key], message)
        continue
      }
      problems.warn('CONFIG_OLD_NAME', entry.key, [...path, key], `${key} is now called ${name}; the old name still works`, name)
    }
    entries.set(name, { ...entry, value: renameOldKeys(entry.value, propertySchema(schemas, name), root, [...path, key], problems) })
  }
  return { ...node, entries }
}

/** Old name -> current name, for the keys that a map may have. A current name is never an old one. */
function oldNames(schemas: readonly Schema[], root: Schema): Map<string, string> {
  const names = new Map<string, string>()
  for (const { properties = {} } of schemas) {
    for (const [name, property] of Object.entries(properties))
      for (const alias of alternatives(property, root).flatMap(p => p.aliases ?? []))
        if (!schemas.some(s => s.properties && Object.hasOwn(s.properties, alias))) names.set(alias, name)
  }
  return names
}
