/** A wall clock for timestamps: corrections are followed, jumps only once they last. */
import { expect, test } from 'vitest'
import { SteadyWallClock, VirtualClock } from '../../src/kit/clock.ts'

const DAY = 86_400_000
const START = 1_700_000_000_000

const world = () => {
  const clock = new VirtualClock(START)
  const jumps: number[] = []
  return { clock, jumps, steady: new SteadyWallClock(clock, by => jumps.push(by)) }
}

test.each([DAY, -DAY, 3_600_000, -3_600_000])('a clock jump of %i ms for two seconds does not affect timestamps', by => {
  const { clock, jumps, steady } = world()
  clock.skip(1000)
  expect(steady.now()).toBe(START + 1000)
  clock.setWallClock(by)
  for (let ms = 1000; ms <= 3000; ms += 500) {
    expect(steady.now()).toBe(START + ms)
    clock.skip(500)
  }
  clock.setWallClock(-by)
  expect(steady.now()).toBe(clock.now())
  expect(jumps).toEqual([by])
})

test('a clock jump that lasts for a minute is followed', () => {
  const { clock, jumps, steady } = world()
  clock.setWallClock(DAY)
  expect(steady.now()).toBe(START)
  clock.skip(59_000)
  expect(steady.now()).toBe(START + 59_000)
  clock.skip(1000)
  expect(steady.now()).toBe(START + 60_000 + DAY)
  clock.skip(1)
  expect(steady.now()).toBe(clock.now())
  expect(jumps).toEqual([DAY])
})

test('slow corrections are followed at once, whatever their size', () => {
  const { clock, jumps, steady } = world()
  for (let i = 0; i < 100; i++) {
    clock.skip(1000)
    clock.setWallClock(900)
    expect(steady.now()).toBe(clock.now())
  }
  expect(jumps).toEqual([])
})

test('after a process was stopped, timestamps include the time that has passed', () => {
  const { clock, steady } = world()
  clock.skip(64_000)
  expect(steady.now()).toBe(START + 64_000)
})
