/** Modules without types of their own. */
declare module 'snappyjs' {
  const snappy: { compress(b: Buffer): Buffer; uncompress(b: Buffer): Buffer }
  export default snappy
}
declare module 'kafkajs/src/*' {
  const value: any
  export default value
}
declare module 'ajv/dist/runtime/*'
