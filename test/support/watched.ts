/** Processes of the test at hand, for whoever waits for what they do. */
export interface Watched {
  /** It has ended, and the test neither ended it nor waits for its end. */
  readonly endedUnasked: boolean
  /** Command, state and output, for an error text. */
  describe(problem: string): string
}

export const watched = new Set<Watched>()
