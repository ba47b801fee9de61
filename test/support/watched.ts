/** Processes of the current test, for helpers that wait for their output. */
export interface Watched {
  /** It has ended, and the test neither ended it nor waits for its end. */
  readonly endedUnasked: boolean
  /** Command, state and output, for an error text. */
  describe(problem: string): string
}

export const watched = new Set<Watched>()
