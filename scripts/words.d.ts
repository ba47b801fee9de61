export interface Piece {
  readonly line: number
  readonly kind: string
  readonly text: string
}
/** What a person reads in a file, by its name. */
export function pieces(file: string, text: string): Piece[]
/** What is wrong with a piece of text. */
export function problems(piece: Piece): string[]
/** `file:line: kind: problem` of all files under version control, or of `only`. */
export function violations(root: string, only?: readonly string[]): string[]
