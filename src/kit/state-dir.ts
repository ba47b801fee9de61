import { join } from 'node:path'

/** Where the runner keeps what it must remember on this machine: the embedded log and local checkpoints. */
export const inStateDir = (file: string): string => join(process.env.RUNNER_STATE_DIR || '.runner', file)
