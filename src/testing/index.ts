/** `pipeline-runner/testing`: running test files from a program. */
export { runTestFile } from './engine.ts'
