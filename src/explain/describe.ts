/** A checked pipeline as a plain object: the output of `explain --format json` and the input of the other formats. */
import type { Pipeline } from '../config/model.ts'
import { numbersOfSinks, type SinkNumbers } from './numbers.ts'
import { type Outline, outlineOf } from './outline.ts'

export interface Explanation extends Outline {
  /** The origin of the numbers of each sink, as far as the file shows it. */
  readonly numbers: readonly SinkNumbers[]
}

export const describe = (pipeline: Pipeline): Explanation => ({ ...outlineOf(pipeline), numbers: numbersOfSinks(pipeline) })
