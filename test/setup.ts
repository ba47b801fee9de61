/**
 * Runs once around all test files. Servers start when the first test file asks for one (by importing
 * `test/support/kafka.ts`), so that a run of only unit tests starts no server.
 */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { sharedRedis } from './support/servers/redis.ts'
import { sharedKafka, sharedPostgres } from './support/servers/shared.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** `GET <url>/kafka` answers `host:port` once the shared broker is up, `/postgres` a DSN, `/redis` a URL; or 500 with the reason. */
    servers: string
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Tests choose their backend themselves: a variable of the developer's shell must not switch an embedded test to Kafka.
  const given = process.env.KAFKA_BROKERS
  const givenDsn = process.env.PG_DSN_RW
  delete process.env.KAFKA_BROKERS
  const givenRedis = process.env.REDIS_URL
  delete process.env.PG_DSN_RW
  delete process.env.REDIS_URL
  let kafka: ReturnType<typeof sharedKafka> | undefined
  let postgres: ReturnType<typeof sharedPostgres> | undefined
  let redis: ReturnType<typeof sharedRedis> | undefined

  const server = createServer((request, response) => {
    const answer = (address: Promise<string>): void => {
      address.then(
        text => response.end(text),
        (error: Error) => response.writeHead(500).end(error.message),
      )
    }
    if (request.url === '/kafka') answer((kafka ??= sharedKafka(given, say)).then(({ brokers }) => brokers))
    else if (request.url === '/postgres') answer((postgres ??= sharedPostgres(givenDsn, say)).then(({ dsn }) => dsn))
    else if (request.url === '/redis') answer((redis ??= sharedRedis(givenRedis, say)).then(({ url: address }) => address))
    else response.writeHead(404).end()
  })
  const url = await listen(server)
  project.provide('servers', url)

  return async () => {
    server.closeAllConnections()
    server.close()
    for (const server of [kafka, postgres, redis]) await (await server?.catch(() => undefined))?.stop()
  }
}

const say = (line: string) => process.stderr.write(`${line}\n`)

async function listen(server: Server): Promise<string> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
