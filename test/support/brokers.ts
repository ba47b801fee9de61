import { inject } from 'vitest'

const address = await ask()

/** `host:port` of the shared broker. */
export function brokers(): string {
  return address
}

/** `test/setup.ts` starts the broker on the first question. */
async function ask(): Promise<string> {
  const answer = await fetch(`${inject('servers')}/kafka`)
  const text = await answer.text()
  if (!answer.ok) throw new Error(`no Kafka for the tests: ${text}`)
  return text
}
