/** FNV-1a of the JSON of a schema, to check that generated code matches it. */
export function fingerprint(schema: object): string {
  const text = JSON.stringify(schema)
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return `${(hash >>> 0).toString(16)}-${text.length}`
}
