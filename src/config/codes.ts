/** Every problem `validate` can report: the one table behind the code, its page in docs/errors.md and the SARIF rules. */

export interface CodeDoc {
  /** One line. */
  readonly title: string
  /** What it means and what to do, for docs/errors.md. */
  readonly help: string
}

export const CODES = {
  CONFIG_READ: {
    title: 'The file cannot be read',
    help: 'The path does not exist, is a directory without pipeline files, or may not be read. The only problem that ends with exit code 3.',
  },
  CONFIG_ENCODING: {
    title: 'The file is not UTF-8 text',
    help: 'Pipeline files are UTF-8. Save the file as UTF-8; a byte order mark is fine.',
  },
  CONFIG_LIMIT: {
    title: 'The file is larger than a pipeline file may be',
    help: 'At most 1 MB, 30,000 tokens, 64 nested levels and 64 KB for one value: far more than any pipeline needs, and little enough that no file can hang `validate`.',
  },
  CONFIG_YAML: {
    title: 'The YAML does not parse',
    help: 'The text breaks the rules of YAML 1.2 at this place. Typical: a missing space after `:`, a quote that is never closed, an indentation that fits no level, or a value that starts with `@`, `` ` `` or `%` and needs quotes.',
  },
  CONFIG_TAB: { title: 'Tab used for indentation', help: 'YAML forbids tabs in indentation. Use spaces.' },
  CONFIG_DOCUMENTS: {
    title: 'More than one document',
    help: 'A pipeline file holds one YAML document. Put each pipeline into its own file.',
  },
  CONFIG_EMPTY: {
    title: 'The file is empty',
    help: 'There is nothing but comments. A pipeline needs at least `name`, `sources` and `sinks`, a catalogue `topics`.',
  },
  CONFIG_DUPLICATE_KEY: { title: 'Duplicate key', help: 'One of the two values would be lost. Remove or rename one.' },
  CONFIG_OLD_NAME: {
    title: 'A key has a new name',
    help: 'A warning: the old name still works. Write the new one, which the message says. `validate --strict` makes it an error.',
  },
  CONFIG_NAME_TWICE: {
    title: 'Two files of one name, version and group',
    help: 'A warning of `runner validate` over several files: they are one pipeline to the runner. Only one of them runs at a time, and it finds the state of the other. Give one of them another `name`, `version` or `group`.',
  },
  CONFIG_KEY: {
    title: 'A key that may not be used',
    help: 'Keys are plain strings. Lists, maps and aliases as keys are refused, and so are `__proto__`, `constructor` and `prototype`.',
  },
  CONFIG_MERGE: {
    title: 'A merge key',
    help: '`<<` is not part of YAML 1.2 and hides where a value comes from. Use an alias for the whole value, or write the keys out.',
  },
  CONFIG_TAG: { title: 'A tag', help: 'Tags such as `!include` or `!!binary` are not supported.' },
  CONFIG_ALIAS: {
    title: 'An alias that does not resolve, or explodes',
    help: 'The anchor is unknown, the value contains itself, or the aliases of the file would expand to more than 10,000 values.',
  },
  CONFIG_SET: {
    title: 'A --set that fits nowhere',
    help: 'Written as `--set path=value`, for example `--set sinks[0].kafka.topic=bars.test`. Every step of the path but the last must exist.',
  },
  CONFIG_ENV_MISSING: {
    title: 'An environment variable is not set',
    help: '`${VAR}` needs the variable. Set it, or give a default: `${VAR:-default}`.',
  },
  CONFIG_ENV_SYNTAX: {
    title: 'A reference that is not one',
    help: 'Known are `${VAR}`, `${VAR:-default}` and `${file:/path}`. For a literal `${` write `$${`.',
  },
  CONFIG_ENV_FILE: {
    title: 'A file named by ${file:…} cannot be read',
    help: 'The path is relative to the pipeline file. The file must be UTF-8 and at most 64 KB; line breaks at its end are dropped.',
  },
  CONFIG_UNKNOWN_KEY: {
    title: 'An unknown key',
    help: 'Nothing reads this key, so it is refused instead of ignored. `runner list PLUGIN` shows the keys of a plugin.',
  },
  CONFIG_MISSING_KEY: { title: 'A required key is missing', help: 'Reported at the key of the map that lacks it.' },
  CONFIG_TYPE: {
    title: 'A value of the wrong type',
    help: 'Quote a value to make it a string; remove the quotes to make it a number or a boolean. A value made of `${VAR}` is converted to the type that is wanted.',
  },
  CONFIG_VALUE: {
    title: 'A value that is not allowed',
    help: 'The value is not one of the allowed ones, too small, too large, too short, too long, or does not have the form the key wants.',
  },
  CONFIG_DURATION: {
    title: 'Not a duration',
    help: 'A number with its unit, without a space: `500ms`, `10s`, `1m`, `1h30m`, `7d`. Units: ms, s, m, h, d.',
  },
  CONFIG_SIZE: {
    title: 'Not a size',
    help: 'A number with its unit, without a space: `512B`, `128KiB`, `10MB`. Units: B, KB, MB, GB (powers of 1000) and KiB, MiB, GiB (powers of 1024).',
  },
  CONFIG_TOPIC: {
    title: 'Not a topic name',
    help: 'Kafka topic names have 1 to 249 characters out of `a-z A-Z 0-9 . _ -`, and are not `.` or `..`.',
  },
  CONFIG_IDENTIFIER: {
    title: 'Not an SQL name',
    help: 'A letter or `_`, then letters, digits, `_` or `$`, at most 63 characters; optionally `schema.` in front.',
  },
  CONFIG_FIELD: { title: 'Not a field path', help: 'Names separated by dots: `price`, `data.price`.' },
  CONFIG_TIMESTAMP: { title: 'Not a timestamp', help: 'ISO 8601 with a zone (`2026-01-31T12:00:00Z`), or epoch milliseconds.' },
  CONFIG_STEP: {
    title: 'A step that is not one plugin',
    help: 'A step is a map with exactly one plugin key, for example `- kafka: {…}`, plus the common keys `name`, `when`, `enabled` and, for a sink, `from`.',
  },
  CONFIG_UNKNOWN_PLUGIN: {
    title: 'An unknown plugin',
    help: '`runner list` shows all plugins. Your own are loaded from the files and packages under `plugins:`.',
  },
  CONFIG_WRONG_SECTION: {
    title: 'A plugin in the wrong section',
    help: 'The plugin exists, but not of this kind: sources go under `sources`, transforms under `transforms`, sinks under `sinks` or `dlq`.',
  },
  CONFIG_PLUGIN_FILE: {
    title: 'A plugin does not load',
    help: 'The file is missing or the package not installed, the module throws or has a syntax error, its default export is not a plugin, or its schema does not compile. Paths are relative to the pipeline file; packages are looked up from its folder, then beside the runner. Steps with an unknown name are not reported until every plugin loads.',
  },
  CONFIG_PLUGIN_CLASH: {
    title: 'Two plugins of one name',
    help: 'The name is taken by a built-in plugin or by another file. Rename the type of yours.',
  },
  CONFIG_DUPLICATE_NAME: {
    title: 'A step name is used twice',
    help: 'Names of steps are unique in a pipeline, over sources, transforms, sinks and dlq.',
  },
  CONFIG_FROM: { title: '`from` names no step', help: '`from` is the name of a source or transform, or `step.port` for one of its ports.' },
  CONFIG_SOURCE: {
    title: 'A setting names a source that is not there',
    help: 'It is the name of a step under `sources:` that is switched on: its `name:`, else its plugin.',
  },
  CONFIG_PORT: {
    title: '`from` names no port, or a port has no sink',
    help: 'An error: the step exists, but it does not have this port with its present config. A warning: a step emits to a port that no sink takes, and what it emits there is dropped.',
  },
  CONFIG_EXPRESSION: {
    title: 'An expression that does not compile',
    help: 'CEL, checked with its types: an unknown function, wrong operand types or a syntax error, with the caret under the character.',
  },
  CONFIG_EXPRESSION_TYPE: { title: 'An expression of the wrong type', help: 'A condition must be true or false: compare something.' },
  CONFIG_CHECK: {
    title: 'A config that contradicts itself',
    help: 'Each key is right, but together they make no sense; the plugin says why.',
  },
  CONFIG_DELIVERY: {
    title: 'A delivery guarantee that cannot hold',
    help: '`delivery: exactly_once` needs outputs, state and positions in one transaction: from Kafka to the same Kafka (or embedded to embedded), or into a database that keeps the checkpoints. The message names the edge that breaks it.',
  },
  CONFIG_LANE_KEY: {
    title: 'Records that count together may come on several lanes',
    help: 'A step such as `window`, `bars`, `dedupe` or `throttle` keeps its state by lane (a partition, a file, a socket). Where records of one key come on several lanes, each lane makes a result of its own, and results of one key overwrite each other. An error: that is known. A warning: the file does not say. Put `- repartition: { by: … }` before the step, or write `keyed_by: …` in the source where its producer keeps the records together. See docs/guide/keys.md.',
  },
  CONFIG_DISABLED: { title: 'Nothing left to read', help: 'Every source has `enabled: false`.' },
} as const satisfies Record<string, CodeDoc>

export type Code = keyof typeof CODES
