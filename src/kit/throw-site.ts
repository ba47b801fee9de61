/**
 * Finds the place in a user's own code where an error was thrown, from its stack. Types are stripped in place, so lines and columns match
 * the source.
 */
import { isAbsolute, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** `src/`, or `dist/`. */
const OWN = new URL('../', import.meta.url).href
/** Where frames of `dist/` are with `--enable-source-maps`. */
const SOURCES = new URL('../../src/', import.meta.url).href
/** The script of the command. */
const BIN = new URL('../../bin/', import.meta.url).href
/** The file name of the code in a single executable. */
const EXECUTABLE = pathToFileURL(process.execPath).href

export interface Site {
  readonly path: string
  readonly line: number
  readonly column: number
}

/** The frames of the stack that belong neither to the runner nor to Node, innermost first. */
export function sites(error: unknown): Site[] {
  const stack = (error as { stack?: unknown } | null | undefined)?.stack
  if (typeof stack !== 'string') return []
  const found: Site[] = []
  for (const row of stack.split('\n')) {
    const match = /^\s+at (?:.* \()?(?:async )?((?:file:\/\/)?\/[^()]+?):(\d+):(\d+)\)?$/.exec(row)
    if (!match) continue
    const [, place, line, column] = match
    const url = place.startsWith('file:') ? place : `file://${place}`
    if (url.startsWith(OWN) || url.startsWith(SOURCES) || url.startsWith(BIN) || url === EXECUTABLE) continue
    found.push({ path: pathOf(url), line: Number(line), column: Number(column) })
  }
  return found
}

/** `discount.ts:14:22`, relative to the working folder when it lies below it; undefined: no frame of the stack is outside the runner and Node. */
export function locate(error: unknown): string | undefined {
  const all = sites(error)
  // An error thrown by a library was caused by its caller.
  const site = all.find(s => !s.path.includes('/node_modules/')) ?? all[0]
  return site && `${shortPath(site.path)}:${site.line}:${site.column}`
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url.replace(/\?.*$/, ''))
  } catch {
    return url
  }
}

/** Relative to the working folder when it lies below it. */
export function shortPath(path: string): string {
  const near = relative(process.cwd(), path)
  return near === '' || near.startsWith('..') || isAbsolute(near) ? path : near
}
