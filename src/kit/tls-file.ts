import { readFileSync } from 'node:fs'
import { EnvironmentError } from '../contract/plugin.ts'

/** A PEM file that a setting names; undefined when it names none. @throws {EnvironmentError} when it cannot be read */
export function tlsFile<Property extends string>(config: Readonly<Record<Property, string>>, property: Property): Buffer | undefined {
  const path = config[property]
  if (path === '') return undefined
  try {
    return readFileSync(path)
  } catch (error) {
    throw new EnvironmentError(`cannot read ${property}: ${(error as Error).message}`, error)
  }
}
