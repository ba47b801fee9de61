/** A message's key from the name of its channel. */
import { type Advice, compileGroup, PatternError } from '../../../kit/text/pattern.ts'

/** @returns the key, `null` when there is none */
export type KeyRule = (channel: string, pattern: string) => string | null

const REKEY = 'take the channel as the key, and make the key of it in a `rekey` transform'
const ADVICE: Advice = { lookaround: REKEY, backReference: REKEY, repetition: REKEY }

export function keyRule(rule: string): KeyRule {
  if (rule === 'none') return () => null
  if (rule === 'channel') return channel => channel
  if (rule === 'last')
    return channel => channel.slice(Math.max(channel.lastIndexOf('.'), channel.lastIndexOf(':'), channel.lastIndexOf('/')) + 1)
  if (rule === 'wildcard') return wildcard
  return compileGroup(rule, ADVICE) ?? (() => null)
}

/** What is wrong with the rule, if anything. */
export function checkKeyRule(rule: string): string | undefined {
  if (['none', 'channel', 'last', 'wildcard'].includes(rule)) return undefined
  try {
    return compileGroup(rule, ADVICE)
      ? undefined
      : 'is wildcard, last, channel, none, or a regular expression with a group, e.g. ^ticks\\.(.+)$'
  } catch (error) {
    if (error instanceof PatternError) return error.message
    throw error
  }
}

/** What lies between the pattern's plain beginning and its plain end; the whole name when nothing is wild. */
function wildcard(channel: string, pattern: string): string {
  const first = pattern.search(/[*?[\\]/)
  if (first === -1) return channel
  const last = Math.max(pattern.lastIndexOf('*'), pattern.lastIndexOf('?'), pattern.lastIndexOf(']'))
  const tail = pattern.slice(last + 1)
  // An escaped character is not as long as what it stands for.
  return pattern.includes('\\') ? channel : channel.slice(first, channel.length - tail.length)
}
