/** Park and Miller's generator: numbers in (0, 1). */
export function random(seed: number): () => number
export function makeTicks(seed?: number): { lines: Buffer[]; summary: Record<string, any> }
/** Bytes of one clean tick, newline not counted. */
export const CLEAN_BYTES: number
/** Yields `count` clean ticks as lines of exactly `CLEAN_BYTES` ASCII characters, 10 ms apart, in order. */
export function cleanTicks(count: number, seed?: number): Generator<string>
