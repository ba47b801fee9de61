/** Recognizes the most common expression, `user.id`, without loading the language, which is a third of the code of a simple pipeline. */

/** Field names separated by dots, none of them reserved. */
export const isPlainPath = (text: string): boolean =>
  /^[a-z]\w*(?:\.[a-z]\w*)*$/i.test(text) && text.split('.').every(name => !NAMES.has(name))

/** Reserved words, types, function namespaces, `value`, `meta` and `this`. */
export const NAMES: ReadonlySet<string> = new Set(
  (
    'value meta this as break const continue else false for function if import in let loop namespace null package return true var void while ' +
    'bool bytes double duration dyn int list map null_type optional_type string timestamp type uint ' +
    'base64 cel lists math optional sets strings'
  ).split(' '),
)
