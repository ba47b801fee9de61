/** What is wrong with a regular expression, in words: RE2 gives `missing closing ]: `. */
const REASONS: Readonly<Record<string, string>> = {
  'duplicate capture group name': 'two groups have one name',
  'invalid capture in lookbehind': 'lookbehind is not supported',
  'invalid character class range': 'the ends of a range are out of order, or not single characters',
  'invalid escape sequence': 'a backslash is before a character that has no escape',
  'invalid named capture': 'the name of a group is not a name',
  'invalid or unsupported Perl syntax': 'lookaround, back-references and other constructs after (? are not supported',
  'invalid nested repetition operator': 'two repetitions follow each other',
  'invalid repeat count': 'a repetition is above 1000, or its bounds are out of order',
  'expression too large': 'it is too large',
  'missing closing ]': 'a [ is not closed',
  'missing closing )': 'a ( is not closed',
  'missing argument to repetition operator': 'a repetition has nothing before it',
  'expression nests too deeply': 'its groups are nested too deeply',
  'trailing backslash at end of expression': 'it ends with a backslash',
  'unexpected )': 'a ) has no (',
}

/** @param error of RE2JS. @returns the reason and the part of the pattern that it is about */
export function patternReason(error: unknown): string {
  const { error: kind, input } = error as { error?: string; input?: string }
  const reason = (kind !== undefined && REASONS[kind]) || 'RE2 cannot read it'
  return input ? `${reason}: ${input}` : reason
}
