export * from '../../../src/testing/conformance/state.ts'
