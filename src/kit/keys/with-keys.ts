/** Config keys that several plugins share, written once: the connection keys of a system, TLS, the place of the event time. */

interface Keys {
  readonly properties: Readonly<Record<string, object>>
}

/**
 * The schema with the keys of `shared` added behind its own.
 * A key that the schema has itself keeps its place, and what it says (a default, an alias) wins over what `shared` says.
 *
 * @param only names of the keys to take; default: all of `shared`
 */
export function withKeys<S extends Keys, T extends Keys>(schema: S, shared: T, only?: readonly (keyof T['properties'] & string)[]): S & T {
  const properties: Record<string, object> = { ...schema.properties }
  for (const [key, property] of Object.entries(shared.properties))
    if (only === undefined || only.includes(key)) properties[key] = { ...property, ...properties[key] }
  return { ...schema, properties } as unknown as S & T
}
