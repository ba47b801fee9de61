/** In place of an owner: `runner offsets reset` has set the position, and wants reading to go on there with empty state. */
export const RESET = 'runner offsets reset'

/**
 * Whose a checkpoint is: (name, version, group). Checkpoint topics, rows and transactional ids carry it, so two runs share state only
 * when all three are equal. A group that is called like the pipeline, the default, is left out.
 * @param id `<name>.<version>`; a name has no dots
 */
export function stateOwner(id: string, group?: string): string {
  const name = id.slice(0, id.indexOf('.'))
  return group === undefined || group === name ? id : `${id}.${group}`
}

/** What an owner was made from. */
export function partsOfOwner(owner: string): { readonly id: string; readonly group: string } {
  const [name, version, ...group] = owner.split('.')
  return { id: `${name}.${version}`, group: group.length > 0 ? group.join('.') : name }
}
