/** Replaces an owner: `runner offsets reset` has set the position, and reading continues there with empty state. */
export const RESET = 'runner offsets reset'

/**
 * The owner of a checkpoint: (name, version, group). Checkpoint topics, rows and transactional ids contain it, so two runs share state only
 * when all three are equal. A group with the name of the pipeline, the default, is left out.
 * @param id `<name>.<version>`; a name has no dots
 */
export function stateOwner(id: string, group?: string): string {
  const name = id.slice(0, id.indexOf('.'))
  return group === undefined || group === name ? id : `${id}.${group}`
}

/** The parts of an owner. */
export function partsOfOwner(owner: string): { readonly id: string; readonly group: string } {
  const [name, version, ...group] = owner.split('.')
  return { id: `${name}.${version}`, group: group.length > 0 ? group.join('.') : name }
}
