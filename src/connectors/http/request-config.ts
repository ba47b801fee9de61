/** Checks of the settings that all steps share which send HTTP requests. */
import type { ConfigProblem } from '../../contract/plugin.ts'
import { fetchMistake } from '../../kit/http/url.ts'
import { validateTlsFiles } from '../../kit/keys/tls.ts'
import { hasTls, type TlsKeys } from './sink/tls-fetch.ts'

interface RequestConfig extends TlsKeys {
  readonly url: string
  readonly bearer: string
  readonly username: string
  readonly password: string
  readonly headers: Readonly<Record<string, string>>
}

const OF_CONNECTION = ['content-length', 'host', 'transfer-encoding', 'connection']

export function requestProblems(c: RequestConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = validateTlsFiles(c)
  const mistake = fetchMistake(c.url.replaceAll(/[{}]/g, '_'))
  if (mistake !== undefined) problems.push({ path: ['url'], message: `${mistake}; set username and password, or bearer, for a login` })
  else if (hasTls(c) && c.url.startsWith('http:'))
    problems.push({ path: ['url'], message: 'tls_* settings need https://', suggestion: c.url.replace('http:', 'https:') })
  if (c.bearer !== '' && c.username !== '') problems.push({ path: ['username'], message: 'set either bearer or username, not both' })
  if (c.password !== '' && c.username === '')
    problems.push({ path: ['password'], message: 'needs username: set username, or remove password' })
  for (const name of Object.keys(c.headers))
    if (OF_CONNECTION.includes(name.toLowerCase()))
      problems.push({ path: ['headers', name], message: 'is set by the HTTP connection; remove it' })
  return problems
}
