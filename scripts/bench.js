/** `npm run bench`, from a fresh clone; `npm run bench -- outbox` for the outbox. */
import { installCommands, installPackages, runProject } from './bootstrap.js'

installPackages()
await installCommands()
const [first, ...rest] = process.argv.slice(2)
if (first === 'outbox') runProject('bench/outbox/main.ts', rest)
else runProject('bench/main.ts', process.argv.slice(2))
