/** @returns whether Kafka accepts this name. */
export const validTopic = (name: string): boolean => /^[a-zA-Z0-9._-]{1,249}$/.test(name) && name !== '.' && name !== '..'
