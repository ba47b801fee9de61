/** `npm run demo`, from a fresh clone. */
import { installPackages, runProject } from './bootstrap.js'

installPackages()
runProject('examples/demo/demo.ts', process.argv.slice(2))
