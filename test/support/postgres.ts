/** PostgreSQL for tests. Importing this module starts the shared server if it isn't there yet. */
import pg from 'pg'
import { afterAll, inject } from 'vitest'
import { createDatabase } from './servers/postgres.ts'
import { unique } from './unique.ts'

const server = await ask()
const made: string[] = []

afterAll(async () => {
  for (const name of made.splice(0)) await sql(server, `drop database if exists "${name}" with (force)`).catch(() => {})
})

/** DSN of a new, empty database, gone when the test file ends. */
export async function database(): Promise<string> {
  const name = unique('test')
  const dsn = await createDatabase(server, name)
  made.push(name)
  return dsn
}

/** Rows of one statement, by a plain client of its own that shares no code with the driver under test; int8 and numeric are text. */
export async function sql<T = Record<string, unknown>>(dsn: string, text: string, params: unknown[] = []): Promise<T[]> {
  const client = new pg.Client({ connectionString: dsn })
  await client.connect()
  try {
    return (await client.query(text, params.length > 0 ? params : undefined)).rows as T[]
  } finally {
    await client.end()
  }
}

/** `test/setup.ts` starts the server on the first question. */
async function ask(): Promise<string> {
  const answer = await fetch(`${inject('servers')}/postgres`)
  const text = await answer.text()
  if (!answer.ok) throw new Error(`no PostgreSQL for the tests: ${text}`)
  return text
}
