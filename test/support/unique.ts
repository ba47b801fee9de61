import { randomBytes } from 'node:crypto'

/** A name no other test or run uses: for topics, groups and transactional ids. */
export function unique(prefix: string): string {
  return `${prefix}-${randomBytes(5).toString('hex')}`
}
