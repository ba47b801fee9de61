/** The members that a group leader accepts. */
import { expect, test } from 'vitest'
import type { LiveContent } from '../../../src/contract/plugin.ts'
import {
  decodeAssignment,
  decodeMember,
  encodeAssignment,
  encodeMember,
  type Member,
} from '../../../src/connectors/kafka/client/consume/assign.ts'
import { rejectedMembers } from '../../../src/connectors/kafka/client/consume/live-members.ts'

const live = (topic: string, owner = 'bars.1'): LiveContent => ({
  owner,
  file: 'p.yaml',
  runner: '1',
  settings: { 'sinks.kafka.topic': topic },
})
const member = (id: string, content: LiveContent | undefined, generation = -1, topics = ['in']): Member => ({
  id,
  topics,
  owned: [],
  generation,
  live: content,
})
const refused = (members: readonly Member[], leader = members[0].id): string[] => [...rejectedMembers(members, leader).keys()].sort()

test('members with equal content and members without content are accepted', () => {
  expect(refused([member('a', live('x')), member('b', live('x')), member('c', undefined), member('d', live('x'), 3)])).toEqual([])
})

test('the first member stays, independent of the leader', () => {
  const members = [member('a', live('new')), member('b', live('old'), 7), member('c', live('old'), 7), member('d', live('new'))]
  for (const leader of ['a', 'b', 'c', 'd']) expect(refused(members, leader)).toEqual(['a', 'd'])
})

test('of new members only, the leader and those with its content stay', () => {
  const members = [member('a', live('x')), member('b', live('y')), member('c', live('x'))]
  expect(refused(members, 'b')).toEqual(['a', 'c'])
  expect(refused(members, 'c')).toEqual(['b'])
})

test('two pipelines may share a group if they read different topics', () => {
  const other = live('y', 'other.1')
  expect(refused([member('a', live('x')), member('b', other, -1, ['elsewhere'])])).toEqual([])
  expect(refused([member('a', live('x')), member('b', other, -1, ['elsewhere', 'in'])])).toEqual(['b'])
  // All instances of a pipeline must have equal content, whatever they read.
  expect(refused([member('a', live('x')), member('b', live('y'), -1, ['elsewhere'])])).toEqual(['b'])
})

test('content and rejection survive encoding; a content of another kind is ignored', () => {
  expect(decodeMember('a', encodeMember(['in'], [{ topic: 'in', partition: 1 }], 4, 'p', live('x')))).toEqual({
    ...member('a', live('x'), 4),
    owned: [{ topic: 'in', partition: 1 }],
    process: 'p',
  })
  expect(decodeMember('a', encodeMember(['in'], [], 4)).live).toBeUndefined()
  expect(decodeMember('a', encodeMember(['in'], [], 4, 'p', { settings: 1 } as never)).live).toBeUndefined()
  expect(decodeAssignment(encodeAssignment({ partitions: [], members: [], rejected: live('x') })).rejected).toEqual(live('x'))
  expect(decodeAssignment(encodeAssignment({ partitions: [], members: [] })).rejected).toBeUndefined()
})
