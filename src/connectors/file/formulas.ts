/**
 * Spreadsheets run a cell that begins with one of these characters as a formula; an apostrophe before it makes the cell text. It is
 * added also before apostrophes that such a character follows, so removing one restores the text.
 */
const FORMULA = /^'*[=+\-@\t\r＝＋－＠]/
/** Numbers are not formulas: `-5`, `+1.5e3`. */
const NUMBER = /^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$/

export const escapeFormula = <T>(value: T): T | string =>
  typeof value === 'string' && FORMULA.test(value) && !NUMBER.test(value) ? `'${value}` : value

/** The name of a column as records have it. */
export const unescapeFormula = (name: string): string => (name.startsWith("'") && FORMULA.test(name) ? name.slice(1) : name)
