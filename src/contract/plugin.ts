/** Everything a plugin author imports: the message, the three plugin kinds, and the errors. */
export * from './advanced.ts'
export * from './authoring.ts'
export * from './errors.ts'
export * from './exact-number.ts'
export { DEFAULT_DEPTH, encodeJson, jsonProblem, parseJson } from './json.ts'
export * from './message.ts'
