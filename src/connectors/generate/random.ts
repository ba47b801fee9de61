/** Random numbers by index: the n-th of a seed is always the same and does not depend on the previous ones. */

/** @returns a function from an index (a non-negative integer) to a number in [0, 1). */
export function randomAt(seed: number, name: string): (index: number) => number {
  let salt = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b)
  for (let i = 0; i < name.length; i++) salt = Math.imul(salt ^ name.charCodeAt(i), 0xcc9e2d51)
  return index => {
    // splitmix32 over the index; beyond 2^32 the high half is mixed in.
    let z = (salt + Math.imul(index | 0, 0x9e3779b9) + Math.imul(Math.floor(index / 2 ** 32), 0x27d4eb2f)) | 0
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32
  }
}
