/** The commonest expression, `user.id`, known without the language: its modules are a third of what a pipeline without others would load. */

/** Names of fields separated by points, with none in it that the language could take for something else. */
export const isPlainPath = (text: string): boolean =>
  /^[a-z]\w*(?:\.[a-z]\w*)*$/i.test(text) && text.split('.').every(name => !NAMES.has(name))

/** Reserved words, types, namespaces of functions, and the two names of the message. */
export const NAMES: ReadonlySet<string> = new Set(
  (
    'value meta as break const continue else false for function if import in let loop namespace null package return true var void while ' +
    'bool bytes double duration dyn int list map null_type optional_type string timestamp type uint ' +
    'base64 cel lists math optional sets strings'
  ).split(' '),
)
