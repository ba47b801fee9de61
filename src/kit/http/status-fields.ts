/** Names of what the expressions of an endpoint see; the checker knows them without loading the runtime. */
export const STEP_FIELDS = ['kind', 'in', 'out', 'dead', 'retries', 'healthy']
export const ENDPOINT_FIELDS = ['pipeline', 'ready', 'problems', 'reasons', 'healthy', 'lag', 'steps', 'metrics']
