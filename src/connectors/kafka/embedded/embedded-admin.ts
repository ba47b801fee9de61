/** `LogAdmin` on the embedded log. It has no logins, so it has no permissions. */
import { RESET } from '../../../kit/state-owner.ts'
import { EnvironmentError } from '../../../contract/plugin.ts'
import type { LogAdmin, TopicSetting } from '../log-admin.ts'
import { commitOffset, Group, groupId, liveMembers } from './group.ts'
import { processName } from '../liveness.ts'
import type { Log } from './log.ts'
import { DEFAULT_BYTES, DEFAULT_MS } from './retention.ts'
import { checkSettings, MAX_MESSAGE_BYTES } from './topics.ts'

const DEFAULTS = {
  'cleanup.policy': 'delete',
  'max.message.bytes': String(MAX_MESSAGE_BYTES),
  'retention.bytes': String(DEFAULT_BYTES),
  'retention.ms': String(DEFAULT_MS),
}

export function embeddedAdmin(open: () => Promise<Log>): LogAdmin {
  const row = (log: Log, topic: string): { id: number; config: Record<string, string> } => {
    const found = log.db.get<{ id: number; config: string }>('SELECT id, config FROM topic WHERE name = ?', topic)
    if (!found) throw new EnvironmentError(`topic ${topic} does not exist in the embedded log`)
    return { id: found.id, config: JSON.parse(found.config) as Record<string, string> }
  }
  return {
    async configs(topics) {
      const log = await open()
      return new Map(
        topics.map(topic => {
          const settings = new Map<string, TopicSetting>(Object.entries(DEFAULTS).map(([k, value]) => [k, { value, own: false }]))
          for (const [key, value] of Object.entries(row(log, topic).config)) settings.set(key, { value, own: true })
          return [topic, settings]
        }),
      )
    },

    async alterConfigs(topic, changes) {
      checkSettings(topic, changes)
      const log = await open()
      await log.db.write(() => {
        const { id, config } = row(log, topic)
        for (const [key, value] of Object.entries(changes)) {
          if (value === null) delete config[key]
          else config[key] = value
        }
        log.db.prepare('UPDATE topic SET config = ? WHERE id = ?').run(JSON.stringify(config), id)
      })
      log.topics.forget()
    },

    async addPartitions(topic, count) {
      const log = await open()
      await log.db.write(() => {
        const { id } = row(log, topic)
        const { have } = log.db.prepare('SELECT count(*) AS have FROM part WHERE topic = ?').get(id) as { have: number }
        if (have >= count) return
        for (let num = have; num < count; num++) log.db.prepare('INSERT INTO part (topic, num) VALUES (?, ?)').run(id, num)
        Group.topicChanged(log.db, topic)
      })
      log.topics.forget()
    },

    async deleteTopics(topics) {
      const log = await open()
      for (const topic of topics) {
        await log.db.write(() => {
          const { db } = log
          const found = db.prepare('SELECT id FROM topic WHERE name = ?').get(topic) as { id: number } | undefined
          if (!found) return
          for (const { id } of db.prepare('SELECT id FROM part WHERE topic = ?').all(found.id) as { id: number }[]) {
            db.prepare('DELETE FROM chunk WHERE part = ?').run(id)
            db.prepare('DELETE FROM committed WHERE part = ?').run(id)
            // The row stays: a writer that still has its number must not write to the topic that would get the number next.
            db.prepare('UPDATE part SET topic = -id, bytes = 0 WHERE id = ?').run(id)
          }
          db.prepare('DELETE FROM topic WHERE id = ?').run(found.id)
          Group.topicChanged(db, topic)
        })
      }
      log.topics.forget()
    },

    acls: async () => undefined,
    async createAcls(acls) {
      if (acls.length > 0) throw noAcls()
    },
    async deleteAcls(acls) {
      if (acls.length > 0) throw noAcls()
    },

    async members(group) {
      return liveMembers((await open()).db, group).map(m => ({ id: m.id, client: 'runner', host: processName(m.process), owner: m.owner }))
    },

    async setOffsets(group, offsets) {
      const log = await open()
      const parts = offsets.map(o => ({ part: log.topics.part(o), offset: o.offset }))
      await log.db.write(() => {
        if (liveMembers(log.db, group).length > 0)
          throw new EnvironmentError(`cannot set the offsets of group ${group}: it has members; stop them first`)
        const id = groupId(log.db, group)
        for (const { part, offset } of parts) if (part !== undefined) commitOffset(log.db, id, part, offset, RESET)
      })
    },
  }
}

const noAcls = (): EnvironmentError => new EnvironmentError('the embedded log has no logins and no ACLs')
