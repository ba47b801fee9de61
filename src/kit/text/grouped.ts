/** 12,345 */
export const grouped = (n: number): string => n.toLocaleString('en-US')
