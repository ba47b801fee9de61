/** Checks of a feed's config that a schema cannot express. */
import type { WebsocketSourceConfig } from '../../generated/config-types.ts'
import type { ConfigProblem, Json } from '../../contract/plugin.ts'
import { urlMistake } from '../../kit/http/url.ts'
import { mentions, symbolsOf } from './template.ts'

export function validateConfig(c: WebsocketSourceConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const mistake = urlMistake(c.url, ['ws', 'wss'])
  if (mistake !== undefined) problems.push({ path: ['url'], message: mistake })
  const symbols = symbolsOf(c.symbols)
  if (symbols.length === 0 && (c.subscribe as Json[]).some(m => mentions(m, true)))
    problems.push({ path: ['subscribe'], message: '{symbol} is replaced by each entry of symbols, which is empty; set symbols' })
  if (c.ping?.every === 0) problems.push({ path: ['ping', 'every'], message: 'must be greater than 0' })
  if (c.format !== 'json' && (c.sequence || c.checksum || c.control.length > 0))
    problems.push({
      path: ['format'],
      message: 'sequence, checksum and control need fields, so the format must be json',
      suggestion: 'json',
    })
  const s = c.sequence
  const wrong = s?.snapshot && urlMistake(s.snapshot.url.replaceAll('{symbol}', 'x'))
  if (wrong !== undefined) problems.push({ path: ['sequence', 'snapshot', 'url'], message: wrong })
  if (s && c.checksum) problems.push({ path: ['checksum'], message: 'set either sequence or checksum, not both' })
  if (s?.on_gap === 'snapshot' && !s.snapshot) problems.push({ path: ['sequence'], message: 'on_gap: snapshot needs the key snapshot' })
  if (s?.snapshot && s.on_gap !== 'snapshot')
    problems.push({ path: ['sequence', 'snapshot'], message: `is not used with on_gap: ${s.on_gap}`, suggestion: 'on_gap: snapshot' })
  if (s?.on_gap === 'resubscribe' && !s.restart)
    problems.push({
      path: ['sequence'],
      message: 'on_gap: resubscribe needs the key restart, which identifies the snapshot that ends the gap',
    })
  if (s?.resubscribe && s.on_gap !== 'resubscribe')
    problems.push({ path: ['sequence', 'resubscribe'], message: `is not used with on_gap: ${s.on_gap}`, suggestion: 'on_gap: resubscribe' })
  return problems
}
