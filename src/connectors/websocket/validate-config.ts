/** What a schema cannot say of a feed's config. */
import type { WebsocketSourceConfig } from '../../generated/config-types.ts'
import type { ConfigProblem, Json } from '../../contract/plugin.ts'
import { mentions, symbolsOf } from './template.ts'

export function validateConfig(c: WebsocketSourceConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const symbols = symbolsOf(c.symbols)
  if (symbols.length === 0 && (c.subscribe as Json[]).some(m => mentions(m, true)))
    problems.push({ path: ['subscribe'], message: '{symbol} stands for the entries of symbols, and there are none' })
  if (c.ping?.every === 0) problems.push({ path: ['ping', 'every'], message: 'must be longer than 0' })
  if (c.format !== 'json' && (c.sequence || c.checksum || c.control.length > 0))
    problems.push({ path: ['format'], message: 'sequence, checksum and control look at fields, which only JSON has', suggestion: 'json' })
  const s = c.sequence
  if (s && c.checksum) problems.push({ path: ['checksum'], message: 'a feed has either sequence numbers or a checksum' })
  if (s?.on_gap === 'snapshot' && !s.snapshot) problems.push({ path: ['sequence'], message: 'on_gap: snapshot needs snapshot' })
  if (s?.snapshot && s.on_gap !== 'snapshot')
    problems.push({ path: ['sequence', 'snapshot'], message: `is not used with on_gap: ${s.on_gap}`, suggestion: 'on_gap: snapshot' })
  if (s?.on_gap === 'resubscribe' && !s.restart)
    problems.push({ path: ['sequence'], message: 'on_gap: resubscribe needs restart, which tells the snapshot that ends the gap' })
  if (s?.resubscribe && s.on_gap !== 'resubscribe')
    problems.push({ path: ['sequence', 'resubscribe'], message: `is not used with on_gap: ${s.on_gap}`, suggestion: 'on_gap: resubscribe' })
  return problems
}
