/** `pipeline-runner`: the contract between the runner and its plugins. */
export * from './contract/plugin.ts'
