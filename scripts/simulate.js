/** `npm run simulate`, from a fresh clone. */
import { installPackages, runProject } from './bootstrap.js'

installPackages()
runProject('test/simulation/main.ts', process.argv.slice(2))
