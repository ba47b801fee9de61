/** Passwords in URLs, also those whose special characters are not encoded. */
import { describe, expect, test } from 'vitest'
import { loadText } from '../../../src/config/load.ts'
import { formatText } from '../../../src/config/format.ts'
import { credentialsMistake, maskUrl, secretParts } from '../../../src/kit/text/secrets.ts'

describe('maskUrl', () => {
  test.each([
    ['http://u:secret@h/x?token=secret&n=${NAME}', 'http://u:***@h/x?token=***&n=${NAME}'],
    ['http://u:${PW}@h/x?a=${A:-secret}', 'http://u:${PW}@h/x?a=***'],
    ['http://u:pa/secret@h/x', 'http://u:***@h/x'],
    ['ticks?token=secret', 'ticks?token=secret'],
  ])('%s', (text, shown) => expect(maskUrl(text)).toBe(shown))
})

test('the TLS mode of a DSN stays readable, in the URL and in other texts', () => {
  expect(maskUrl('postgres://u:secret@h/d?sslmode=require&token=secret')).toBe('postgres://u:***@h/d?sslmode=require&token=***')
  expect(secretParts('postgres://u:hunter22@h/d?sslmode=require&token=hunter33')).not.toContain('require')
  expect(secretParts('postgres://u:hunter22@h/d?sslmode=require&token=hunter33')).toEqual(expect.arrayContaining(['hunter22', 'hunter33']))
})

describe('a password with an unencoded character', () => {
  test.each(['pa/ss', 'pa?ss', 'pa#ss', 'p@ss/word', 'p@ss?word'])('%s is a mistake, and encoded it is none', password => {
    expect(credentialsMistake(`redis://u:${password}@h:6379/0`)).toContain('write / as %2F')
    expect(credentialsMistake(`redis://u:${encodeURIComponent(password)}@h:6379/0`)).toBeUndefined()
  })
  test.each([
    'redis://h/0',
    'postgres://h/db?user=me@server',
    'postgres://u:p@h/db?options=a@b',
    'redis://u:p@ss@h/0',
    'embedded',
    'pglite:',
  ])('%s has none', url => expect(credentialsMistake(url)).toBeUndefined())

  const PARTS = ['Alpha', 'Beta', 'Gamma']
  const sinks = { redis: (url: string) => ({ redis: { url, list: 'l' } }), postgres: (dsn: string) => ({ postgres: { dsn, table: 't' } }) }
  test.each(Object.keys(sinks) as (keyof typeof sinks)[])(
    '%s: the error shows no part of it, as text of the file or of a variable',
    async kind => {
      for (const separators of ['//', '@/', '/@', '?/', '#@', '/:', ':/', '@:', '::', '[/', ' /', '@?']) {
        const url = `${kind}://u:${PARTS[0]}${separators[0]}${PARTS[1]}${separators[1]}${PARTS[2]}@127.0.0.1:9/0`
        for (const [written, env] of [
          [url, {}],
          ['${URL}', { URL: url }],
          [url.replace(/(?<=u:).*(?=@)/, '${PW}'), { PW: /u:(.*)@/.exec(url)![1] }],
        ] as const) {
          const file = { name: 'p', sources: [{ stdin: {} }], sinks: [sinks[kind](written)] }
          const { problems } = await loadText('p.yaml', JSON.stringify(file), { env })
          const text = formatText(problems) + JSON.stringify(problems)
          for (const part of PARTS) expect(text, url).not.toContain(part)
        }
      }
    },
  )
})
