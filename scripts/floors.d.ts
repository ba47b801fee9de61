/** Why `from` must not import `to`, both relative to src/; undefined: it may. */
export function forbidden(from: string, to: string): string | undefined
/** `file:line: why` for every import against the floors. */
export function violations(root: string): string[]
