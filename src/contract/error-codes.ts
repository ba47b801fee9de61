/**
 * All errors that are thrown on purpose: one table for the code, `retryable`, the exit code, `error_type` and the entry in docs/errors.md.
 */

export interface ErrorDoc {
  /** The class to throw or catch; `PipelineError` if the error has no class of its own. */
  readonly class: string
  /** One line. */
  readonly title: string
  /** An example of the printed message. */
  readonly example: string
  /** The runtime tries again with back-off. */
  readonly retryable: boolean
  /** Exit code of a command that ends with this error. */
  readonly exit: 1 | 2 | 3 | 4
  /** The unit that the error ends. `record`: the record goes to the dead-letter queue with `error_type`, and the pipeline continues. */
  readonly ends: 'record' | 'lane' | 'pipeline' | 'command' | 'nothing'
  /** The meaning of the error, and what to do. */
  readonly help: string
}

export const ERRORS = {
  PIPE_DECODE: {
    class: 'DecodeError',
    title: 'A record cannot be decoded',
    example: 'field 3: unexpected text after the closing quote',
    retryable: false,
    exit: 1,
    ends: 'record',
    help: 'The bytes do not match `format`: JSON that does not parse, text that is not UTF-8, or a CSV line with a wrong quote. Without a dlq the pipeline stops. Fix the producer, or set another `format`; `runner dlq show` prints the original bytes.',
  },
  PIPE_DATA: {
    class: 'DataError',
    title: 'A record breaks a rule of a step',
    example: 'data.price is missing',
    retryable: false,
    exit: 1,
    ends: 'record',
    help: 'The record was decoded, but a step or a sink cannot process it: a missing field, a wrong type, or a value that a database or an API rejects. Without a dlq the pipeline stops. Fix the producer or the step, then `runner dlq replay`.',
  },
  PIPE_LATE: {
    class: 'LateError',
    title: 'A record arrived after its window had closed',
    example: 'late: 1767225600000 belongs to the window 1767225600000-1767225660000, which closed when event time reached 1767225660000; …',
    retryable: false,
    exit: 1,
    ends: 'record',
    help: 'Only with `on_late: dlq`. Raise `allowed_lateness` if late records are common.',
  },
  PIPE_BATCH: {
    class: 'BatchError',
    title: 'Some messages of a batch failed for good',
    example: '2 message(s) of the batch failed: …',
    retryable: false,
    exit: 1,
    ends: 'record',
    help: 'Thrown by a sink: it lists the failed messages; the others are written. Each failed message becomes a dead letter with the type of its own error. A transform calls `out.fail` instead: if it throws this error, the dead letter has `error_type: batch`.',
  },
  PIPE_CONNECTION: {
    class: 'ConnectionError',
    title: 'A peer is unreachable or not ready',
    example: 'cannot write to ticks: nothing listens on 127.0.0.1:9092 (ECONNREFUSED)',
    retryable: true,
    exit: 1,
    ends: 'nothing',
    help: 'Retried with increasing delays, as set by `retry`. A running pipeline waits, and `/ready` shows the peer. A command such as `runner topics` does not wait and ends with exit code 3. `runner check` shows the peer and a fix.',
  },
  PIPE_ENVIRONMENT: {
    class: 'EnvironmentError',
    title: 'A problem outside the file that waiting does not solve',
    example: 'cannot read tls_ca ca.pem: the file or its folder does not exist (ENOENT)',
    retryable: false,
    exit: 3,
    ends: 'pipeline',
    help: 'Wrong credentials, a missing permission, a port that is in use, or an unreadable file. Nothing is dead-lettered. Fix the cause in the message and start again; `runner check` tests everything at once.',
  },
  PIPE_FENCED: {
    class: 'FencedError',
    title: 'Another instance owns the lane now',
    example: 'ticks/0 was taken from this member of group bars',
    retryable: false,
    exit: 1,
    ends: 'lane',
    help: 'The instance drops the lane and commits nothing of it; the other instance continues from the last commit. Normal during a rebalance. If it repeats, two instances with the same pipeline name run in different groups.',
  },
  PIPE_UNKNOWN_OUTCOME: {
    class: 'UnknownOutcomeError',
    title: 'It is not known whether a transaction was committed',
    example: 'the connection was lost during COMMIT: the peer closed the connection (ECONNRESET)',
    retryable: true,
    exit: 1,
    ends: 'nothing',
    help: 'The lane is restored from its checkpoint, which shows whether the transaction was committed. No action is needed.',
  },
  PIPE_GAP: {
    class: 'GapError',
    title: 'A window with missing records',
    example: 'incomplete: records of the window 1767225600000-1767225660000 were deleted before they were read',
    retryable: false,
    exit: 1,
    ends: 'record',
    help: 'Only with `on_gap: dead_letter`. The dead letter is the result as it would have been published. Raise the retention of the topic above the longest time for which a pipeline may be stopped.',
  },
  PIPE_TOPIC_MISSING: {
    class: 'PipelineError',
    title: 'A topic that is read is not in the embedded log',
    example: 'topic ticks does not exist in the embedded log; it will be read from its first record after it is created',
    retryable: false,
    exit: 1,
    ends: 'nothing',
    help: 'Logged as a warning at the start: the name is misspelled, or its writer has not started. Reading does not create topics; `runner topics list` lists them, `runner topics create` creates one.',
  },
  PIPE_VERDICT: {
    class: 'VerdictError',
    title: 'A pipeline ran to its end with a negative result',
    example: 'parity 83 % is below 100 %',
    retryable: false,
    exit: 4,
    ends: 'pipeline',
    help: 'The printed report lists the findings. The run itself succeeded.',
  },
  PIPE_CONFIG: {
    class: 'ConfigError',
    title: 'A pipeline cannot be loaded',
    example: "p.yaml:2:23 CONFIG_UNKNOWN_KEY unknown key 'chanel'; …",
    retryable: false,
    exit: 2,
    ends: 'command',
    help: 'Thrown by the functions of the library; `problems` has every problem with its code, see above.',
  },
  PIPE_SETTINGS: {
    class: 'PipelineError',
    title: 'An option or a variable of a command is wrong',
    example: 'KAFKA_SECURITY_PROTOCOL: security_protocol must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL',
    retryable: false,
    exit: 2,
    ends: 'command',
    help: 'The message names the option or the environment variable.',
  },
  PIPE_STATE: {
    class: 'StateError',
    title: 'The stored state belongs to another pipeline',
    example: 'the checkpoint of lane ticks/0 was made by other steps than the file has now, and its state would mean something else',
    retryable: false,
    exit: 3,
    ends: 'pipeline',
    help: 'State belongs to `name`, `version` and `group`, and to the topics and steps that produced it. Nothing was read or written. The message shows the difference and the options: undo the change; `runner run --fresh`; another `version`, `name` or `group`. `runner state show` prints the stored state.',
  },
  PIPE_LIVE: {
    class: 'LiveConflictError',
    title: 'Another process of this pipeline is running',
    example:
      'another process is running in group bars, with different settings; each of the two would process only a part of the records: sinks.kafka.topic: running "bars.1m", here "bars.shadow"',
    retryable: false,
    exit: 3,
    ends: 'pipeline',
    help: 'Two processes with the same `name`, `version` and `group` share their work, so their settings must be the same; a source that cannot share its work (a file, a feed) allows only one process. Nothing was read or written. Stop the other process first, or give this one another `name`, `version` or `group`. Settings that do not affect the output (limits, timeouts, lateness, credentials) may differ.',
  },
  PIPE_STOPPED: {
    class: 'PipelineError',
    title: 'A pipeline was stopped before it had read or committed everything',
    example: 'stopped before everything was read: the output, or comparison, is incomplete; run it again',
    retryable: false,
    exit: 1,
    ends: 'pipeline',
    help: 'A one-shot (`once`, a snapshot) keeps no position, so its next run reads everything again. A pipeline that could not commit when it was stopped, because a topic, a broker or a database was unavailable, reads the uncommitted records again; the message shows the cause.',
  },
  PIPE_NAME: {
    class: 'PipelineError',
    title: 'Two pipelines with the same name in one process',
    example: "a pipeline named 'bars' already runs in this process: use different names",
    retryable: false,
    exit: 1,
    ends: 'command',
    help: 'Checkpoints, transactional IDs and metrics are identified by the name. Rename one of the pipelines.',
  },
  PIPE_CHANNEL: {
    class: 'PipelineError',
    title: 'A memory channel is missing or used twice',
    example: "step 'in' uses the channel 'ticks', which is not given: add it to the option memory",
    retryable: false,
    exit: 1,
    ends: 'command',
    help: 'For programs that embed the runner: the option `memory` and the file must have the same channels, and a channel has one reader.',
  },
  PIPE_SMOKE: {
    class: 'PipelineError',
    title: 'A step of `runner smoke` failed',
    example: 'not done within 30000 ms',
    retryable: false,
    exit: 4,
    ends: 'command',
    help: 'The line of the step shows what was expected. `runner check` tests connections and permissions one by one.',
  },
  PIPE_INTERNAL: {
    class: 'PipelineError',
    title: 'A bug',
    example: 'cannot fetch: Cannot read properties of undefined',
    retryable: false,
    exit: 1,
    ends: 'pipeline',
    help: 'A retry would not help, so the pipeline stops. Report it with the log at `--log-level debug`, which contains the stack.',
  },
} as const satisfies Record<string, ErrorDoc>

export type ErrorCode = keyof typeof ERRORS

/** `error_type` of a dead letter, and `code` of a rejected row: `PIPE_DATA` => `data`. */
export const typeOfCode = (code: string): string => code.replace(/^PIPE_/, '').toLowerCase()
