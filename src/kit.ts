/// <reference types="node" preserve="true" />
/**
 * `pipeline-runner/kit`: what built-in plugins are made of, for plugins of other authors. Everything here is a building block; the contract
 * itself (define*, Message, the errors) is `pipeline-runner`.
 *
 * - expressions: `compile`, `checkExpression`, `fieldPaths`, `compileObject`
 * - values: exact decimals, field getters, keys, matchers, records, event time, durations and sizes as text
 * - a source that is pushed to: `createPushQueue`; one that listens: `attach`, `checkPort`
 * - waiting: `pause`, `backoff`, `systemClock`, `VirtualClock`, `EventClock`
 * - files: `inStateDir`, `makeDirs`, `openSqlite`, `checkWritable`, `tlsFile`
 * - dead letters: their header names by `deadLetter` and `readDeadLetter`
 */
export {
  check as checkExpression,
  compile,
  compileObject,
  type Expression,
  type ExpressionProblem,
  type ExpressionType,
  type FieldPath,
  fieldPaths,
  type Shape,
} from './expressions/index.ts'
export * from './kit/index.ts'
