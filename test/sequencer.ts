import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TestSpecification } from 'vitest/node'
import { BaseSequencer } from 'vitest/node'

/** Files that take from half a minute to several, the longest first. All others take seconds. */
const LONG = [
  'test/testing/pipelines.test.ts',
  'test/faults/guarantees.test.ts',
  'test/e2e/dlq.test.ts',
  'test/e2e/dlq-listing.test.ts',
  'test/package/package.test.ts',
  'test/faults/topics.test.ts',
  'test/faults/hang.test.ts',
  'test/connectors/kafka/faults.test.ts',
  'test/e2e/wallet.test.ts',
  'test/connectors/kafka/driver.test.ts',
  'test/faults/time.test.ts',
  'test/faults/broker.test.ts',
  'test/package/executable.test.ts',
  'test/faults/sigkill.test.ts',
  'test/config/corpus.test.ts',
  'test/operations/state.test.ts',
  'test/faults/leaderless.test.ts',
  'test/faults/postgres.test.ts',
  'test/faults/zombie.test.ts',
  'test/faults/group.test.ts',
  'test/connectors/kafka/embedded/driver.test.ts',
  'test/connectors/kafka/embedded/stress.test.ts',
  'test/e2e/company.test.ts',
  'test/e2e/memory.test.ts',
  'test/e2e/demo.test.ts',
  'test/e2e/operate.test.ts',
  'test/faults/security.test.ts',
  'test/faults/outbox-lease.test.ts',
  'test/faults/protocol.test.ts',
  'test/infra/servers.test.ts',
  'test/simulation/simulation.test.ts',
]

/**
 * The longest files first, so that the workers end together. Vitest stores the last duration of each file; in a new checkout
 * it goes by size, and the longest of all are among the smallest.
 */
export class LongestFirst extends BaseSequencer {
  private readonly rank: ReadonlyMap<string, number>

  constructor(context: ConstructorParameters<typeof BaseSequencer>[0]) {
    super(context)
    const root = fileURLToPath(new URL('..', import.meta.url))
    const paths = LONG.map(path => join(root, path))
    const gone = paths.find(path => !existsSync(path))
    if (gone !== undefined) throw new Error(`test/sequencer.ts names ${gone}, which is not there`)
    this.rank = new Map(paths.map((path, i) => [path, i]))
  }

  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => this.rank.get(moduleId) ?? LONG.length
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}
