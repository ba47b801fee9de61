export function quickTests(root: string): string[]
