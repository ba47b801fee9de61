/** Derives the key of a message from the name of its channel. */
import { type Advice, compileGroup, PatternError } from '../../../kit/text/pattern.ts'

/** @returns the key, or `null` if the message has none */
export type KeyRule = (channel: string, pattern: string) => string | null

const REKEY = 'use key_from_channel: channel, and derive the key in a `rekey` transform'
const ADVICE: Advice = { lookaround: REKEY, backReference: REKEY, repetition: REKEY }

export function keyRule(rule: string): KeyRule {
  if (rule === 'none') return () => null
  if (rule === 'channel') return channel => channel
  if (rule === 'last')
    return channel => channel.slice(Math.max(channel.lastIndexOf('.'), channel.lastIndexOf(':'), channel.lastIndexOf('/')) + 1)
  if (rule === 'wildcard') return wildcard
  return compileGroup(rule, ADVICE) ?? (() => null)
}

/** @returns the problem of the rule, if any. */
export function checkKeyRule(rule: string): string | undefined {
  if (['none', 'channel', 'last', 'wildcard'].includes(rule)) return undefined
  try {
    return compileGroup(rule, ADVICE)
      ? undefined
      : 'must be wildcard, last, channel, none, or a regular expression with a group, for example ^ticks\\.(.+)$'
  } catch (error) {
    if (error instanceof PatternError) return error.message
    throw error
  }
}

/** The part between the literal beginning and the literal end of the pattern; the whole name if there is no wildcard. */
function wildcard(channel: string, pattern: string): string {
  const first = pattern.search(/[*?[\\]/)
  if (first === -1) return channel
  const last = Math.max(pattern.lastIndexOf('*'), pattern.lastIndexOf('?'), pattern.lastIndexOf(']'))
  const tail = pattern.slice(last + 1)
  // An escaped character is longer than the character that it represents.
  return pattern.includes('\\') ? channel : channel.slice(first, channel.length - tail.length)
}
