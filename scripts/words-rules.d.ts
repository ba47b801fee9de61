/** What must not be written, and what to write instead. */
export const PHRASES: readonly { readonly match: RegExp; readonly write: string; readonly kinds?: readonly string[]; readonly except?: RegExp }[]
/** British spellings, and US ones. */
export const SPELLING: Readonly<Record<string, string>>
