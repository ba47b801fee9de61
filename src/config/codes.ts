/** All problems that `validate` can report. The table is the source of the codes, docs/errors.md and the SARIF rules. */

export interface CodeDoc {
  /** One line. */
  readonly title: string
  /** Meaning and fix, for docs/errors.md. */
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
    title: 'The file is too large',
    help: 'The limits are 1 MB, 30,000 tokens, 64 nested levels and 64 KB for one value. They keep `validate` fast for any file.',
  },
  CONFIG_YAML: {
    title: 'The YAML does not parse',
    help: 'The text is not valid YAML 1.2 at this position. Typical causes: a missing space after `:`, an unclosed quote, an indentation that matches no level, or an unquoted value that starts with `@`, `` ` `` or `%`.',
  },
  CONFIG_TAB: { title: 'Tab used for indentation', help: 'YAML forbids tabs in indentation. Use spaces.' },
  CONFIG_DOCUMENTS: {
    title: 'More than one document',
    help: 'A pipeline file holds one YAML document. Put each pipeline into its own file.',
  },
  CONFIG_EMPTY: {
    title: 'The file is empty',
    help: 'The file contains only comments. A pipeline needs at least `name`, `sources` and `sinks`; a topic catalog needs `topics`.',
  },
  CONFIG_DUPLICATE_KEY: { title: 'Duplicate key', help: 'Only one of the two values can be used. Remove or rename one key.' },
  CONFIG_OLD_NAME: {
    title: 'A key has a new name',
    help: 'A warning: the old name still works. Use the new name in the message. `validate --strict` makes it an error.',
  },
  CONFIG_NAME_TWICE: {
    title: 'Two files with the same name, version and group',
    help: 'A warning of `runner validate` over several files: the runner treats them as one pipeline. Only one of them can run at a time, and it uses the state of the other. Give one of them another `name`, `version` or `group`.',
  },
  CONFIG_KEY: {
    title: 'A key that is not allowed',
    help: 'Keys are plain strings. Lists, maps and aliases as keys are rejected, and so are `__proto__`, `constructor` and `prototype`.',
  },
  CONFIG_MERGE: {
    title: 'A merge key is used',
    help: '`<<` is not part of YAML 1.2 and hides the origin of values. Use an alias for the whole value, or write the keys out.',
  },
  CONFIG_TAG: { title: 'A tag is used', help: 'Tags such as `!include` or `!!binary` are not supported.' },
  CONFIG_ALIAS: {
    title: 'An alias that does not resolve, or expands too far',
    help: 'The anchor is unknown, the value contains itself, or the aliases of the file would expand to more than 10,000 values.',
  },
  CONFIG_USE: {
    title: 'A use that cannot be resolved',
    help: 'Write the file and the name in it, `use: ./shared.yaml#name`, or `use: "#x-name"` for a key of the same file, and a value for each parameter without a default under `with`.',
  },
  CONFIG_SET: {
    title: 'A --set path that does not exist',
    help: 'Write `--set path=value`, for example `--set sinks[0].kafka.topic=bars.test`. Every part of the path except the last must exist.',
  },
  CONFIG_ENV_MISSING: {
    title: 'An environment variable is not set',
    help: '`${VAR}` needs the variable. Set it, or give a default: `${VAR:-default}`.',
  },
  CONFIG_ENV_SYNTAX: {
    title: 'An invalid reference',
    help: 'The forms are `${VAR}`, `${VAR:-default}` and `${file:/path}`. For a literal `${`, write `$${`.',
  },
  CONFIG_ENV_FILE: {
    title: 'A file named by ${file:…} cannot be read',
    help: 'The path is relative to the pipeline file. The file must be UTF-8 and at most 64 KB; trailing line breaks are removed.',
  },
  CONFIG_UNKNOWN_KEY: {
    title: 'An unknown key',
    help: 'The key is not used, so it is rejected instead of ignored. `runner list PLUGIN` shows the keys of a plugin.',
  },
  CONFIG_MISSING_KEY: { title: 'A required key is missing', help: 'Reported at the map without the key.' },
  CONFIG_TYPE: {
    title: 'A value of the wrong type',
    help: 'Quote a value to make it a string; remove the quotes to make it a number or a boolean. A value from `${VAR}` is converted to the expected type.',
  },
  CONFIG_VALUE: {
    title: 'A value that is not allowed',
    help: 'The value is not one of the allowed ones, too small, too large, too short, too long, or not in the expected form.',
  },
  CONFIG_DURATION: {
    title: 'Not a duration',
    help: 'Write a number with a unit, without a space: `500ms`, `10s`, `1m`, `1h30m`, `7d`. Units: ms, s, m, h, d.',
  },
  CONFIG_SIZE: {
    title: 'Not a size',
    help: 'Write a number with a unit, without a space: `512B`, `128KiB`, `10MB`. Units: B, KB, MB, GB (powers of 1000) and KiB, MiB, GiB (powers of 1024).',
  },
  CONFIG_TOPIC: {
    title: 'Not a topic name',
    help: 'Kafka topic names have 1 to 249 characters of `a-z A-Z 0-9 . _ -`, and cannot be `.` or `..`.',
  },
  CONFIG_IDENTIFIER: {
    title: 'Not an SQL name',
    help: 'SQL names start with a letter or `_`, followed by letters, digits, `_` or `$`, at most 63 characters. `schema.` can precede the name.',
  },
  CONFIG_FIELD: { title: 'Not a field path', help: 'Write names separated by dots: `price`, `data.price`.' },
  CONFIG_TIMESTAMP: { title: 'Not a timestamp', help: 'Write ISO 8601 with a zone (`2026-01-31T12:00:00Z`), or epoch milliseconds.' },
  CONFIG_STEP: {
    title: 'A step without exactly one plugin',
    help: 'A step is a map with exactly one plugin key, for example `- kafka: {…}`, plus the common keys `name`, `when`, `enabled` and, for a sink, `from`.',
  },
  CONFIG_UNKNOWN_PLUGIN: {
    title: 'An unknown plugin',
    help: '`runner list` shows all plugins. Your own plugins are loaded from the files and packages under `plugins:`.',
  },
  CONFIG_WRONG_SECTION: {
    title: 'A plugin in the wrong section',
    help: 'The plugin exists, but is of another kind. Sources go under `sources`, transforms under `transforms`, sinks under `sinks` or `dlq`.',
  },
  CONFIG_PLUGIN_FILE: {
    title: 'A plugin does not load',
    help: 'The file is missing or the package not installed, the module throws or has a syntax error, its default export is not a plugin, or its schema does not compile. Paths are relative to the pipeline file; packages are looked up from its folder, then beside the runner. Steps with an unknown name are not reported until every plugin loads.',
  },
  CONFIG_PLUGIN_CLASH: {
    title: 'Two plugins with the same name',
    help: 'A built-in plugin or another file already uses the name. Rename the `type` of your plugin.',
  },
  CONFIG_DUPLICATE_NAME: {
    title: 'A step name is used twice',
    help: 'Step names must be unique in a pipeline, across sources, transforms, sinks and dlq.',
  },
  CONFIG_FROM: {
    title: '`from` does not name a step',
    help: '`from` is the name of a source or transform, or `step.port` for one of its ports.',
  },
  CONFIG_SOURCE: {
    title: 'A setting names a source that does not exist',
    help: 'Write the name of an enabled step under `sources:`: its `name:`, or its plugin if it has none.',
  },
  CONFIG_PORT: {
    title: '`from` does not name a port, or a port has no sink',
    help: 'An error: the step exists, but does not have this port with its current settings. A warning: no sink reads a port of a step, and its messages are dropped.',
  },
  CONFIG_BRANCH: {
    title: 'A branch that does not fit the pipeline',
    help: '`to` of a branch names sinks of the file; such a sink has no `from`, and receives branches of one `route` only. `repartition` cannot be in a branch. If every branch of a `route` ends in its own sinks, nothing can follow the route.',
  },
  CONFIG_EXPRESSION: {
    title: 'An expression that does not compile',
    help: 'Expressions are CEL and type-checked. The cause is an unknown function, a wrong operand type or a syntax error, at the caret.',
  },
  CONFIG_EXPRESSION_TYPE: {
    title: 'An expression of the wrong type',
    help: 'A condition must give true or false, for example a comparison.',
  },
  CONFIG_CHECK: {
    title: 'Settings that contradict each other',
    help: 'Each key is valid, but the combination is not. The message of the plugin gives the reason.',
  },
  CONFIG_NO_FIELD: {
    title: 'A field that the records do not have',
    help: 'The step reads a field that is not in the records that arrive there. An error if no record can have it, a warning if some records may lack it. The runner derives the fields from `generate`, the schemas of `validate`, CSV `columns`, the names in a SELECT, the steps before, and a file of sample records (`samples:` of a source). `runner types FILE` prints it. If a field may be missing, write `has(value.field)` or `value.?field.orValue(default)`.',
  },
  CONFIG_DELIVERY: {
    title: 'A delivery guarantee that is not possible',
    help: '`delivery: exactly_once` needs outputs, state and positions in one transaction: from Kafka to the same Kafka (or embedded to embedded), or into a database that keeps the checkpoints. The message names the source and the sink.',
  },
  CONFIG_LANE_KEY: {
    title: 'Records of one key may be on several lanes',
    help: 'A step such as `window`, `bars`, `dedupe` or `throttle` keeps its state by lane (a partition, a file, a socket). If records of one key are on several lanes, each lane gives its own result, and the results of a key overwrite each other. It is an error if the file shows it, and a warning if the file does not show the opposite. Put `- repartition: { by: … }` before the step, or write `keyed_by: …` in the source if its producer keeps the records together. See docs/guide/keys.md.',
  },
  CONFIG_DISABLED: { title: 'No source is enabled', help: 'Every source has `enabled: false`.' },
} as const satisfies Record<string, CodeDoc>

export type Code = keyof typeof CODES
