/** A conformance suite is a list of named tests, which any test runner can run. */

export interface ConformanceTest {
  readonly name: string
  /** Rejects if the plugin violates the requirement. */
  run(): Promise<void>
}

/** A test with a cleanup that always runs. */
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
