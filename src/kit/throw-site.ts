/** Where in a user's own code an error was thrown, from its stack. Types are stripped in place, so lines and columns are those of the source. */
import { isAbsolute, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** `src/`, or `dist/src/`. */
const OWN = new URL('../', import.meta.url).href
/** What the code of a single executable has as its file. */
const EXECUTABLE = pathToFileURL(process.execPath).href

/** `discount.ts:14:22`, relative to the working folder when it lies below it; undefined: no frame of the stack is outside the runner and Node. */
export function locate(error: unknown): string | undefined {
  const stack = (error as { stack?: unknown } | null | undefined)?.stack
  if (typeof stack !== 'string') return undefined
  const frames: string[] = []
  for (const line of stack.split('\n')) {
    const match = /^\s+at .*?\(?((?:file:\/\/)?\/[^()]+?):(\d+):(\d+)\)?$/.exec(line)
    if (!match) continue
    const [, place, row, column] = match
    const url = place.startsWith('file:') ? place : `file://${place}`
    if (url.startsWith(OWN) || url === EXECUTABLE) continue
    frames.push(`${short(url)}:${row}:${column}`)
  }
  // What a library throws was caused by who called it.
  return frames.find(f => !f.includes('node_modules/')) ?? frames[0]
}

function short(url: string): string {
  try {
    return shortPath(fileURLToPath(url.replace(/\?.*$/, '')))
  } catch {
    return url
  }
}

/** Relative to the working folder when it lies below it. */
export function shortPath(path: string): string {
  const near = relative(process.cwd(), path)
  return near === '' || near.startsWith('..') || isAbsolute(near) ? path : near
}
