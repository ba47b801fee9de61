/** `npm run bench`, from a fresh clone. */
import { installCommands, installPackages, runProject } from './bootstrap.js'

installPackages()
installCommands()
runProject('bench/main.ts', process.argv.slice(2))
