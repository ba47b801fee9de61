/** Guards state against configuration changes: the state of one kind of window cannot be read as another. */
import { StateError, type Json, type State } from '../../contract/plugin.ts'

const KEY = 'shape'

/**
 * @param shape the settings that define the contents of the windows, as text; stored in `meta`
 * @returns a function that stores the shape; call it with the first change of the state
 * @throws {StateError} if `windows` has open windows of another shape
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
