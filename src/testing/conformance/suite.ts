/** Conformance suites are lists of named tests, so that any test runner can run them. */

export interface ConformanceTest {
  readonly name: string
  /** Rejects when the promise is broken. */
  run(): Promise<void>
}

/** A test that cleans up behind itself, however it ends. */
export const conformanceTest = (name: string, test: () => Promise<void>, cleanup?: () => Promise<void> | void): ConformanceTest => ({
  name,
  run: async () => {
    try {
      await test()
    } finally {
      await cleanup?.()
    }
  },
})
