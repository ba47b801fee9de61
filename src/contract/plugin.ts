/** The exports for plugin authors: the message, the three kinds of plugins, and the errors. */
export * from './advanced.ts'
export * from './authoring.ts'
export * from './errors.ts'
export * from './exact-number.ts'
export { DEFAULT_DEPTH, detached, encodeJson, jsonProblem, parseJson } from './json.ts'
export * from './message.ts'
