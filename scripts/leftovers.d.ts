/**
 * Processes that a test run started and did not end (they are killed), and what it left in its temporary directory.
 * `mark`: value of RUNNER_TEST_RUN in their environment.
 */
export function leftBehind(mark: string, temp: string): Promise<string[]>
