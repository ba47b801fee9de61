/** Composition root: hands the built-in plugins to config. Imported for its effect by everything that starts the program. */
import { provideBuiltIns } from './config/built-ins.ts'
import { PLUGINS, VALIDATORS } from './generated/plugins.ts'

provideBuiltIns({ plugins: PLUGINS, validators: VALIDATORS })
