/** Config keys that several plugins share, defined once: the connection keys of a system, TLS, the position of the event time. */

interface Keys {
  readonly properties: Readonly<Record<string, object>>
}

/**
 * Adds the keys of `shared` to the schema, after its own.
 * A key that the schema has itself keeps its position, and its properties (a default, an alias) override those of `shared`.
 * @param only names of the keys to add; default: all of `shared`
 */
export function withKeys<S extends Keys, T extends Keys>(schema: S, shared: T, only?: readonly (keyof T['properties'] & string)[]): S & T {
  const properties: Record<string, object> = { ...schema.properties }
  for (const [key, property] of Object.entries(shared.properties))
    if (only === undefined || only.includes(key)) properties[key] = { ...property, ...properties[key] }
  return { ...schema, properties } as unknown as S & T
}
