/** Guards state against a changed configuration: what one kind of window holds makes no sense in another. */
import { StateError, type Json, type State } from '../../contract/plugin.ts'

const KEY = 'shape'

/**
 * `shape`: the settings that decide what the windows hold, as text; kept in `meta` beside them.
 * @returns a function that notes it, to be called with the first change of the state.
 * @throws {StateError} when `windows` holds open windows of another shape.
 */
export function claimShape(meta: State<Json>, windows: State, shape: string, step: string): () => void {
  const before = meta.get(KEY)
  if (before !== undefined && before !== shape && windows.size > 0) {
    throw new StateError(
      `the checkpoint has ${windows.size} open windows of step '${step}' made as ${before}; the file has ${shape}. ` +
        "Raise the pipeline's `version` to start with empty state, or restore the former settings",
    )
  }
  return () => {
    if (meta.get(KEY) !== shape) meta.set(KEY, shape)
  }
}
