/** Characters for properties. */
import fc from 'fast-check'

/** Every code point that is not half of a surrogate pair. As `unit: 'binary'` of fast-check, which takes a second to set up. */
export const character = fc.integer({ min: 0, max: 0x10ffff - 0x800 }).map(n => String.fromCodePoint(n < 0xd800 ? n : n + 0x800))
