/** The contract of every checkpoint store: `checkpointConformance(name, setup)`. */
import { stateOwner } from '../../src/kit/state-owner.ts'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type CheckpointDelta, type CheckpointStore, FencedError, type LaneInfo } from '../../src/contract/plugin.ts'

export interface CheckpointSetup {
  /** A new store on the same durable place; the same `id` shares lanes, another one does not. */
  open(id: string): CheckpointStore | Promise<CheckpointStore>
  /** Lanes 0 to 3, which exist where the store needs them to. */
  lane(n: number): LaneInfo
  /** Under which name a lane is kept; default: `stateOwner`. The drivers of a log are given the whole name. */
  owner?(id: string, lane: LaneInfo): string
}

export function checkpointConformance(name: string, setup: () => CheckpointSetup | Promise<CheckpointSetup>): void {
  describe(`${name}: checkpoints`, () => {
    let place: CheckpointSetup
    let run = 0
    const stores: CheckpointStore[] = []
    beforeEach(async () => {
      place = await setup()
      run++
    })
    afterEach(async () => {
      for (const store of stores.splice(0)) await store.close()
    })
    const ownerOf = (id: string, lane: LaneInfo): string => place.owner?.(id, lane) ?? stateOwner(id, lane.group)
    const open = async (id = `p${run}.1`) => {
      const store = await place.open(id)
      stores.push(store)
      return store
    }

    test('a lane that was never saved has no checkpoint, also after a claim', async () => {
      expect(await (await open()).claim(place.lane(0))).toBeUndefined()
      expect(await (await open()).claim(place.lane(0))).toBeUndefined()
    })

    test('peek shows the saved checkpoint without fencing the owner or changing anything', async () => {
      const store = await open()
      if (!store.peek) return
      const looker = await open()
      expect(await looker.peek!(place.lane(0))).toBeUndefined()
      expect(await store.claim(place.lane(0))).toBeUndefined()
      expect(await looker.peek!(place.lane(0))).toBeUndefined()
      for (const n of [1, 2]) await store.save(place.lane(0), delta(n, [['s', `k${n}`, String(n)]]))
      const seen = {
        position: 2,
        state: [
          ['s', 'k1', '1'],
          ['s', 'k2', '2'],
        ],
      } // prettier-ignore
      await expect.poll(async () => sorted(await looker.peek!(place.lane(0)))).toEqual(seen)
      await store.save(place.lane(0), delta(3, [['s', 'k1', null]]))
      await expect.poll(async () => (await looker.peek!(place.lane(0)))?.position).toBe(3)
      expect(await looker.peek!(place.lane(1))).toBeUndefined()
    })

    test('saved state is restored after a restart, up to the last delta', async () => {
      const store = await open()
      await store.claim(place.lane(0))
      await store.save(
        place.lane(0),
        delta(1, [
          ['s', 'a', '1'],
          ['s', 'b', '{"x":"ü"}'],
        ]),
      ) // prettier-ignore
      await store.save(
        place.lane(0),
        delta(2, [
          ['s', 'a', null],
          ['t', 'b', '"2"'],
        ]),
      ) // prettier-ignore
      await store.save(place.lane(0), delta(3))
      await store.close()
      expect(sorted(await (await open()).claim(place.lane(0)))).toEqual({
        position: 3,
        state: [
          ['s', 'b', '{"x":"ü"}'],
          ['t', 'b', '"2"'],
        ],
      }) // prettier-ignore
    })

    test('a reader sees the saved checkpoint and fences no owner', async () => {
      const [owner, other] = [await open(), await open()]
      if (!other.peek) return
      expect(await other.peek(place.lane(0))).toBeUndefined()
      await owner.claim(place.lane(0))
      expect(await other.peek(place.lane(0))).toBeUndefined()
      await owner.save(place.lane(0), delta(1, [['s', 'k', '1']]))
      expect(await other.peek(place.lane(0))).toEqual({ position: 1, state: [['s', 'k', '1']] })
      await owner.save(place.lane(0), delta(2, [['s', 'k', null]]))
      expect(await other.peek(place.lane(0))).toEqual({ position: 2, state: [] })
    })

    test('within one delta the last entry of a key wins', async () => {
      const store = await open()
      await store.claim(place.lane(0))
      await store.save(
        place.lane(0),
        delta(1, [
          ['s', 'k', '1'],
          ['s', 'k', null],
          ['s', 'l', null],
          ['s', 'l', '2'],
        ]),
      ) // prettier-ignore
      expect(await (await open()).claim(place.lane(0))).toEqual({ position: 1, state: [['s', 'l', '2']] })
    })

    test('the latest claim owns the lane: the former owner is fenced and changes nothing', async () => {
      const [old, young] = [await open(), await open()]
      await old.claim(place.lane(0))
      await old.save(place.lane(0), delta(1, [['s', 'k', '1']]))
      expect(await young.claim(place.lane(0))).toEqual({ position: 1, state: [['s', 'k', '1']] })
      await expect(
        old.save(
          place.lane(0),
          delta(9, [
            ['s', 'k', '9'],
            ['s', 'zombie', '9'],
          ]),
        ),
      ).rejects.toBeInstanceOf(FencedError)
      await young.save(place.lane(0), delta(2, [['s', 'k', '2']]))
      await expect(old.save(place.lane(0), delta(9))).rejects.toThrow()
      expect(await (await open()).claim(place.lane(0))).toEqual({ position: 2, state: [['s', 'k', '2']] })
    })

    test('a lane may be claimed again by its owner, and is rejected between release and claim', async () => {
      const store = await open()
      await store.claim(place.lane(0))
      await store.claim(place.lane(0))
      await store.save(place.lane(0), delta(1))
      await store.release(place.lane(0))
      await expect(store.save(place.lane(0), delta(2))).rejects.toThrow()
      await store.claim(place.lane(0))
      await store.save(place.lane(0), delta(3))
      expect((await (await open()).claim(place.lane(0)))?.position).toBe(3)
    })

    test('lanes and pipelines are isolated from each other', async () => {
      const [one, other] = [await open(`p${run}.1`), await open(`p${run}.2`)]
      for (const n of [0, 1]) await one.claim(place.lane(n))
      await other.claim(place.lane(0))
      await one.save(place.lane(0), delta(1, [['s', 'k', '"one/0"']]))
      await one.save(place.lane(1), delta(2, [['s', 'k', '"one/1"']]))
      await other.save(place.lane(0), delta(3, [['s', 'k', '"other/0"']]))
      expect(await one.claim(place.lane(0))).toEqual({ position: 1, state: [['s', 'k', '"one/0"']] })
      expect(await one.claim(place.lane(1))).toEqual({ position: 2, state: [['s', 'k', '"one/1"']] })
      expect(await other.claim(place.lane(0))).toEqual({ position: 3, state: [['s', 'k', '"other/0"']] })
    })

    test('list has every lane of every version and group of the name, and no other name', async () => {
      const [one, two, other] = [await open(`p${run}.1`), await open(`p${run}.2`), await open(`p${run}x.1`)]
      if (!one.list) return
      expect(await one.list()).toEqual([])
      const grouped = { ...place.lane(1), group: 'shadow' }
      await one.claim(place.lane(0))
      await one.claim(grouped)
      await two.claim(place.lane(0))
      await other.claim(place.lane(0))
      // Claimed and never saved: nothing is kept.
      await two.claim(place.lane(1))
      await one.save(place.lane(0), delta(1, [['s', 'k', '"1"']]))
      await one.save(grouped, delta(2))
      await two.save(place.lane(0), delta(3, [['s', 'ü \\0', '3']]))
      await other.save(place.lane(0), delta(4))
      const listed = (await (await open(`p${run}.7`)).list!()).map(l => [l.owner, l.lane, l.checkpoint])
      const owner = (version: number, lane: LaneInfo) => ownerOf(`p${run}.${version}`, lane)
      expect(listed.toSorted()).toEqual(
        [
          [owner(1, place.lane(0)), place.lane(0).id, { position: 1, state: [['s', 'k', '"1"']] }],
          [owner(1, grouped), grouped.id, { position: 2, state: [] }],
          [owner(2, place.lane(0)), place.lane(0).id, { position: 3, state: [['s', 'ü \\0', '3']] }],
        ].toSorted(),
      )
      // Reading has not fenced the owner.
      await one.save(place.lane(0), delta(5))
    })

    test('remove deletes one owner with its state; a running process is fenced, a later one starts from the beginning', async () => {
      const [one, two] = [await open(`p${run}.1`), await open(`p${run}.2`)]
      if (!one.remove) return
      for (const store of [one, two]) {
        await store.claim(place.lane(0))
        await store.save(place.lane(0), delta(1, [['s', 'k', '1']]))
      }
      await (await open(`p${run}.2`)).remove!(ownerOf(`p${run}.1`, place.lane(0)))
      expect(await (await open(`p${run}.1`)).claim(place.lane(0))).toBeUndefined()
      await expect(one.save(place.lane(0), delta(2))).rejects.toThrow()
      await two.save(place.lane(0), delta(2, [['s', 'l', '2']]))
      expect(sorted(await (await open(`p${run}.2`)).claim(place.lane(0)))).toEqual({
        position: 2,
        state: [
          ['s', 'k', '1'],
          ['s', 'l', '2'],
        ],
      }) // prettier-ignore
      // Nothing is left of a name that is not there.
      await one.remove(`p${run}.9`)
    })

    test('former finds the checkpoint of 0.1.0 without a group, adopts it only at that position, and fences 0.1.0', async () => {
      const grouped = { ...place.lane(0), group: 'mine' }
      const ungrouped = { ...place.lane(0), group: undefined }
      const store = await open()
      if (!store.former) return
      expect(await store.former(grouped, 5)).toEqual({})
      const former = await open()
      await former.claim(ungrouped)
      await former.save(ungrouped, delta(5, [['s', 'k', '"old"']]))
      expect(await store.former(grouped, 4)).toEqual({ position: 5 })
      await former.save(ungrouped, delta(6))
      expect(await store.former(grouped, 6)).toEqual({ position: 6, checkpoint: { position: 6, state: [['s', 'k', '"old"']] } })
      await expect(former.save(ungrouped, delta(7))).rejects.toBeInstanceOf(FencedError)
      // It is kept where it was, and under the group there is nothing before the runtime saves it.
      expect(await store.claim(grouped)).toBeUndefined()
      // A group that is called like the pipeline is kept under the same name as before: there is no former place.
      expect(await store.former({ ...place.lane(0), group: `p${run}` }, 6)).toEqual({})
    })

    test('lanes are saved concurrently', async () => {
      const store = await open()
      const lanes = [0, 1, 2, 3].map(n => place.lane(n))
      for (const lane of lanes) await store.claim(lane)
      await Promise.all(
        lanes.map(async (lane, n) => {
          for (let i = 1; i <= 20; i++) await store.save(lane, delta(i, [['s', `k${i % 3}`, `${n * 100 + i}`]]))
        }),
      )
      for (const [n, lane] of lanes.entries())
        expect(sorted(await store.claim(lane))).toEqual({
          position: 20,
          state: [
            ['s', 'k0', `${n * 100 + 18}`],
            ['s', 'k1', `${n * 100 + 19}`],
            ['s', 'k2', `${n * 100 + 20}`],
          ], // prettier-ignore
        })
    })
  })
}

const delta = (position: number, state: CheckpointDelta['state'] = []): CheckpointDelta => ({ position, state })

const sorted = <C extends { state: CheckpointDelta['state'] } | undefined>(checkpoint: C): C =>
  checkpoint && { ...checkpoint, state: checkpoint.state.map(s => [...s]).toSorted() }
