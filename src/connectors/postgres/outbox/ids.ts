/** Encodes ids of rows as short text for checkpoints: each as the difference to the previous one. */

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
