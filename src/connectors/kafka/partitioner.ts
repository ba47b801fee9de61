/** Kafka's default partitioner, so that a key is in the same partition for every writer. */

const M = 0x5bd1e995
const SEED = 0x9747b28c | 0

/** murmur2 as Kafka's Java client computes it: a signed 32-bit number. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length
  let h = SEED ^ length
  const whole = length & ~3
  let i = 0
  for (; i < whole; i += 4) {
    let k = bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24)
    k = Math.imul(k, M)
    k = Math.imul(k ^ (k >>> 24), M)
    h = Math.imul(h, M) ^ k
  }
  const rest = length - whole
  if (rest > 0) {
    if (rest === 3) h ^= bytes[i + 2] << 16
    if (rest >= 2) h ^= bytes[i + 1] << 8
    h = Math.imul(h ^ bytes[i], M)
  }
  h = Math.imul(h ^ (h >>> 13), M)
  return h ^ (h >>> 15)
}

/** Partition of a keyed record, `0 <= p < partitions`. A string key counts by its UTF-8 bytes. */
export function partitionOf(key: Uint8Array | string, partitions: number): number {
  if (partitions === 1) return 0
  return (murmur2(typeof key === 'string' ? Buffer.from(key) : key) & 0x7fffffff) % partitions
}

/** Partition for the keyless records of one batch: any, but the same for the whole batch. */
export function stickyPartition(partitions: number): number {
  return partitions === 1 ? 0 : Math.floor(Math.random() * partitions)
}
