export * from '../../../src/testing/conformance/context.ts'
