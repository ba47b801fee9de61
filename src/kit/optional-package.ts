import { isSea } from 'node:sea'
import { EnvironmentError } from '../contract/plugin.ts'

/**
 * For packages that few users need, which are optional peers: `await import('x').catch(needsPackage('x', 'sink x'))`.
 * The import stays visible to a bundler, and the `catch` shows a bundler that the package may be missing.
 * @param what the setting or command that needs it
 * @param together packages that it needs as well, for one command
 * @throws {EnvironmentError} with the command that installs it; any other error is unchanged
 */
export function needsPackage(name: string, what: string, together: readonly string[] = []): (error: unknown) => never {
  return error => {
    const { code, message } = error as NodeJS.ErrnoException
    // The missing package may be a dependency of this one. Vitest and a single executable have their own error codes.
    const absent =
      (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND' || code === 'ERR_UNKNOWN_BUILTIN_MODULE') && message.includes(name)
    if (!absent) throw error
    const names = [name, ...together].join(' ')
    const remedy = isSea()
      ? `which this executable does not contain; use the npm package: npm install pipeline-runner ${names}`
      : `which is not installed; run: npm install ${names}`
    throw new EnvironmentError(`${what} needs the package ${name}, ${remedy}`, error)
  }
}
