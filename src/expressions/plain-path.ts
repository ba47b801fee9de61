/** The most common expression, `user.id`, recognized without loading the language: its modules are a third of the code of a pipeline that has no other expressions. */

/** Field names separated by dots, none of which has another meaning in the language. */
export const isPlainPath = (text: string): boolean =>
  /^[a-z]\w*(?:\.[a-z]\w*)*$/i.test(text) && text.split('.').every(name => !NAMES.has(name))

/** Reserved words, types, namespaces of functions, and the two names of the message. */
export const NAMES: ReadonlySet<string> = new Set(
  (
    'value meta this as break const continue else false for function if import in let loop namespace null package return true var void while ' +
    'bool bytes double duration dyn int list map null_type optional_type string timestamp type uint ' +
    'base64 cel lists math optional sets strings'
  ).split(' '),
)
