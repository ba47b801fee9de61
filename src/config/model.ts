/** The result of the config layer: a pipeline that passed all checks, with all defaults filled in. */
import type { MapNode } from './tree.ts'
import type { Plugin, SinkPlugin, SourcePlugin, TransformPlugin } from '../contract/plugin.ts'

export interface Location {
  readonly file: string
  /** 1-based. */
  readonly line: number
  readonly column: number
}

/** One finding in a file. `line`, `column` 1-based, end exclusive. `path` as in `sinks[0].kafka.topic`. */
export interface Problem {
  readonly code: string
  readonly severity: 'error' | 'warning'
  readonly file: string
  readonly line: number
  readonly column: number
  readonly endLine: number
  readonly endColumn: number
  readonly path: string
  readonly message: string
  /** Suggested replacement, if any. */
  readonly suggestion?: string
  /** The suggestion as an edit of `file`; absent if it is an example, or text that does not replace the range. */
  readonly fix?: Edit
}

/** Replaces a range of a text; positions as in `Problem`. */
export interface Edit {
  readonly line: number
  readonly column: number
  readonly endLine: number
  readonly endColumn: number
  readonly text: string
}

export interface Step<P extends Plugin = Plugin> {
  readonly type: string
  /** Set by `name:`; otherwise the type, with a number if it occurs twice (`map`, `map_2`). Unique in the pipeline. */
  readonly name: string
  readonly plugin: P
  /** Coerced (durations in ms, sizes in bytes), with defaults and `${}` resolved; contains secrets. */
  readonly config: any
  /** CEL condition; only messages for which it is true enter the step (transform: others pass unchanged; sink: others are not written). */
  readonly when?: string
  /** Text to print instead of `when`, if it has variables. */
  readonly shownWhen?: string
  readonly at: Location
  /** The branch of a `route` step that has the step: `route/branch`. */
  readonly branch?: string
  /** On a source: records with the same value of this expression are on one lane of it, and on no lane of another source. */
  readonly keyedBy?: string
  /** The plugin is not built in: its output is checked to be JSON. */
  readonly foreign?: boolean
  /** Paths (relative to config, dotted) of values marked `secret` in the schema: print `***` for them. */
  readonly secrets: readonly string[]
  /** By path: text to print instead of values from variables or files, such as `Bearer ${TOKEN}`. */
  readonly hidden?: Readonly<Record<string, string>>
  /** Paths (relative to config, such as `retry.max_delay`) whose value is the default. */
  readonly defaults?: ReadonlySet<string>
}

export interface SinkStep extends Step<SinkPlugin> {
  /** `step` or `step.port` that this sink reads; undefined: the end of the chain. */
  readonly from?: { readonly step: string; readonly port?: string }
}

/** A transform that moves messages to other lanes, with its sink and the source after it. */
export interface Link {
  /** Index of the transform. */
  readonly index: number
  readonly sink: SinkStep
  readonly source: Step<SourcePlugin>
}

export interface RetryConfig {
  /** ms */
  readonly initial_delay: number
  /** ms */
  readonly max_delay: number
  /** Consecutive failures after which the circuit opens and the sources pause. */
  readonly breaker_failures: number
  /** How long the circuit stays open before a probe, ms. */
  readonly breaker_reset: number
}

export interface LimitsConfig {
  /** Maximum nesting of a record. */
  readonly depth?: number
  /** A JSON record with a duplicate key in an object goes to the dead-letter queue. */
  readonly strict?: boolean
  /** Maximum bytes of state of all lanes in this process. */
  readonly state?: number
  /** Maximum messages from one record, body or query result. */
  readonly messages?: number
  /** Maximum bytes in one compressed record batch. */
  readonly batch?: number
  /** Maximum bytes of input that all sources of this process hold. */
  readonly input?: number
}

/** Access to a listener of the runner. */
export interface ListenerConfig {
  readonly token?: string
  readonly allow_unauthenticated?: boolean
  readonly hosts?: readonly string[]
  readonly origins?: readonly string[]
}

export interface MetricsConfig extends ListenerConfig {
  readonly enabled: boolean
  readonly host: string
  readonly port: number
  /** ms */
  readonly linger: number
}

/** A string leaf is a CEL expression. */
export type EndpointValue = string | number | boolean | null | readonly EndpointValue[] | { readonly [key: string]: EndpointValue }

export interface EndpointConfig extends ListenerConfig {
  readonly path: string
  readonly host: string
  readonly port: number
  /** CEL condition over the status. */
  readonly healthy: string
  readonly body: { readonly [key: string]: EndpointValue }
}

export interface Pipeline {
  readonly file: string
  readonly name: string
  readonly version: number
  readonly description?: string
  readonly sources: readonly Step<SourcePlugin>[]
  readonly transforms: readonly Step<TransformPlugin>[]
  readonly sinks: readonly SinkStep[]
  /** In the order of their transforms; undefined: there are none. */
  readonly links?: readonly Link[]
  readonly dlq?: Step<SinkPlugin>
  /** The dlq is disabled, and its dead letters are dropped. */
  readonly drops_dead?: boolean
  readonly delivery: 'at_least_once' | 'exactly_once'
  /** ms between checkpoints. */
  readonly commit_interval: number
  /** Maximum messages per lane in flight to the sinks. */
  readonly max_in_flight: number
  /** Maximum time for draining during a shutdown, ms. */
  readonly shutdown_timeout: number
  readonly retry: RetryConfig
  readonly limits?: LimitsConfig
  readonly metrics?: MetricsConfig
  readonly endpoints?: readonly EndpointConfig[]
  /** The file with everything that it uses in place, and with the overrides of `--set`; variables are not replaced. */
  readonly tree?: MapNode
  /** Paths outside the steps whose value is the default. */
  readonly defaults?: ReadonlySet<string>
  /** Hash of all settings that change the results of the pipeline. */
  readonly hash: string
}
