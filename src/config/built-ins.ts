/**
 * The built-in plugins. Config is a layer below the plugins and does not import them: `src/built-in.ts` provides them before a file is
 * loaded.
 */
import type { Plugin } from '../contract/plugin.ts'
import type { Quick } from './ajv.ts'

export interface BuiltIns {
  /** By kind and type. */
  readonly plugins: Readonly<Record<Plugin['kind'], Readonly<Record<string, () => Promise<{ default: Plugin }>>>>>
  /** Generated validators, by `<kind>.<type>`, and `frame`. */
  readonly validators: Readonly<Record<string, () => Promise<Quick>>>
}

let provided: BuiltIns | undefined

export function provideBuiltIns(builtIns: BuiltIns): void {
  provided = builtIns
}

/** @throws {Error} if they were not provided: otherwise every plugin would be reported as unknown */
export function builtIns(): BuiltIns {
  if (!provided) throw new Error('the built-in plugins are not provided: import src/built-in.ts first')
  return provided
}

/** The generated validator of a schema: `source.kafka`, or `frame`. */
export async function loadQuick(id: string): Promise<Quick | undefined> {
  const { validators } = builtIns()
  return Object.hasOwn(validators, id) ? validators[id]() : undefined
}
