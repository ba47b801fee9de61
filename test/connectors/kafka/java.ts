import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { kafkaJars } from '../../support/servers/java.ts'

/** Compiles a file beside this one into a folder. */
export async function compileJava(name: string, folder: string): Promise<void> {
  const lib = await kafkaJars(() => {})
  const file = fileURLToPath(new URL(name, import.meta.url))
  await promisify(execFile)('javac', ['-J-XX:TieredStopAtLevel=1', '-cp', `${lib}/*`, '-d', folder, file])
}

/** Runs Client.java beside this file; returns what it printed. */
export async function java(...args: string[]): Promise<string> {
  const lib = await kafkaJars(() => {})
  const file = fileURLToPath(new URL('Client.java', import.meta.url))
  const { stdout } = await promisify(execFile)('java', ['-XX:TieredStopAtLevel=1', '-cp', `${lib}/*`, file, ...args], {
    maxBuffer: 1 << 26,
  })
  return stdout
}
