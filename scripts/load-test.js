/** `npm run load-test`, from a fresh clone. */
import { installCommands, installPackages, runProject } from './bootstrap.js'

installPackages()
await installCommands()
runProject('bench/load-test/main.ts', process.argv.slice(2))
