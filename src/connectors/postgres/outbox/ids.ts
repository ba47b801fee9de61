/** Ids of rows as short text, for checkpoints: each as its distance to the one before. */

/** @param ids ascending */
export function packIds(ids: readonly number[]): string {
  let text = ''
  let last = 0
  for (const id of ids) {
    text += text === '' ? (id - last).toString(36) : `,${(id - last).toString(36)}`
    last = id
  }
  return text
}

export function unpackIds(text: string): number[] {
  if (text === '') return []
  let last = 0
  return text.split(',').map(step => (last += Number.parseInt(step, 36)))
}
