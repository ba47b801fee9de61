/** The guard around sources and sinks: how their errors reach the runtime. */
import { describe, expect, it } from 'vitest'
import { BatchError, ConnectionError, DataError, Message, type Sink, type Source } from '../../src/contract/plugin.ts'
import { create } from '../../src/runtime/guard.ts'

const lines: string[] = []
const note = (_: object, text: string): void => void lines.push(text)
const log = { debug: note, info: note, warn: note, error: note }
const step = { name: 's', at: { file: 'p.yaml', line: 7, column: 3 } }
const origin = { lane: 'orders/0', source: 'in', topic: 'orders', partition: 0, format: 'json' as const }
const batch = [17, 18].map(offset => Message.fromRecord(Buffer.from('{}'), null, 0, undefined, offset, origin))
const signal = new AbortController().signal
const thrown = (work: () => unknown): Promise<any> =>
  Promise.resolve()
    .then(work)
    .then(
      () => undefined,
      e => e,
    )

const writing = (write: () => unknown): Promise<any> => {
  const sink = create(step, 'write', log, () => ({ write }) as unknown as Sink)
  return thrown(() => sink.write(batch, { signal, lane: { id: 'orders/0', source: 'in' } }))
}
const reading = (read: () => unknown): Promise<any> => {
  const source = create(step, 'read', log, () => ({ read }) as unknown as Source)
  return thrown(() => source.read(signal))
}

it.each(['onGap', 'onIdle', 'onClock', 'onEnd'])('a transform: %s throws with its step', async hook => {
  const throws = (): never => {
    throw new TypeError('no')
  }
  const transform: any = create(step, 'process', log, () => ({ process() {}, [hook]: throws }))
  expect((await thrown(() => transform[hook]())).message).toMatch(new RegExp(`^step 's' \\(p\\.yaml:7\\): ${hook} threw TypeError`))
})

describe('a sink', () => {
  it('an error that no rule covers is reported with step, location, records and a fix', async () => {
    for (const write of [
      () => {
        throw new TypeError('no')
      },
      async () => {
        throw new TypeError('no')
      },
    ]) {
      const { message } = await writing(write)
      expect(message).toMatch(
        /^step 's' \(p\.yaml:7\): write threw TypeError at test\/runtime\/guard\.test\.ts:\d+:\d+: no\n  Records in the call: orders\/0 offsets 17 to 18\.\n  Correct the plugin\. Throw a BatchError/,
      )
    }
    expect((await writing(() => Promise.reject())).message).toMatch(/write threw Error: undefined, which is not an Error/)
    expect(
      (
        await writing(() => {
          throw new DataError('bad')
        })
      ).message,
    ).toMatch(/Throw a BatchError to reject records/)
  })

  it('an error that a rule covers is passed on unchanged', async () => {
    const gone = new ConnectionError('gone')
    expect(
      await writing(async () => {
        throw gone
      }),
    ).toBe(gone)
    const some = new BatchError(new Map([[1, new DataError('bad')]]))
    expect(
      await writing(() => {
        throw some
      }),
    ).toBe(some)
  })

  it('a message that is not in the batch is reported', async () => {
    expect(
      (
        await writing(() => {
          throw new BatchError(new Map([[2, new Error('x')]]))
        })
      ).message,
    ).toMatch(/the BatchError lists message 2 of a batch of 2/)
    const odd = await writing(() => {
      throw new BatchError(new Map([[0, 'text' as never]]))
    })
    expect(odd.failed.get(0).message).toMatch(/^'text', which is not an Error/)
  })
})

describe('a source', () => {
  it.each([undefined, {}, 5, { lane: 'x' }])('reports a read of %j, which is not a batch', async value => {
    expect((await reading(async () => value)).message).toMatch(/^step 's' \(p\.yaml:7\): read threw TypeError.*must resolve to a batch/)
  })
  it('read must return a batch or end', async () => {
    expect(await reading(async () => null)).toBeUndefined()
    expect(await reading(async () => ({ lane: 'a', messages: [], position: 1 }))).toBeUndefined()
  })
  it('a source whose healthy() throws is not healthy, and the error is logged once', async () => {
    lines.length = 0
    const source = create(
      step,
      'read',
      log,
      () =>
        ({
          read: async () => null,
          healthy: () => {
            throw new Error('who knows')
          },
        }) as Source,
    )
    expect([source.healthy!(), source.healthy!()]).toEqual([false, false])
    expect(lines).toEqual([expect.stringMatching(/healthy threw Error .*who knows/)])
  })
})

it('the guard keeps the instance, its private fields and its getters', async () => {
  class Own {
    #n = 0
    get commitImmediately() {
      return this.#n === 0
    }
    async read() {
      this.#n++
      return null
    }
  }
  const made = new Own()
  const source = create(step, 'read', log, () => made as unknown as Source)
  expect(source).toBe(made)
  expect(source.commitImmediately).toBe(true)
  await source.read(signal)
  expect(source.commitImmediately).toBe(false)
})
