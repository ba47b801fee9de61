import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/sequencer.ts'

const source = (path: string): string => fileURLToPath(new URL(`src/${path}`, import.meta.url))

export default defineConfig({
  resolve: {
    // In this repository the package is its sources: tsconfig.json and scripts/source.js say the same.
    alias: [
      { find: /^pipeline-runner$/, replacement: source('index.ts') },
      { find: /^pipeline-runner\/kit$/, replacement: source('kit.ts') },
      { find: /^pipeline-runner\/testing$/, replacement: source('testing/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts', 'examples/**/*.test.ts'],
    globalSetup: ['test/setup.ts'],
    setupFiles: ['src/built-in.ts'],
    // Processes, not threads: tests change directory, environment and signals.
    pool: 'forks',
    // kafkajs on Node 24 computes a timer in the past and Node says so.
    execArgv: ['--disable-warning=TimeoutNegativeWarning'],
    // One more than the two cores of a small machine: tests of faults mostly wait, for what a server or a timer does.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    // Ends what hangs; how long anything takes decides no test, however busy the machine.
    testTimeout: 240_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 120_000 } },
  },
})
