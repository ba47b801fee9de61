/**
 * In this repository `pipeline-runner` is `src/`, not the built `dist/`. For processes that run TypeScript as it is:
 * `node --import ./scripts/source.js`. Plugins find the running package in any case (src/config/plugin-modules.ts). `tsconfig.json` and `vitest.config.ts` say the same.
 */
import { registerHooks } from 'node:module'

const ENTRIES = {
  'pipeline-runner': new URL('../src/index.ts', import.meta.url).href,
  'pipeline-runner/kit': new URL('../src/kit.ts', import.meta.url).href,
  'pipeline-runner/testing': new URL('../src/testing/index.ts', import.meta.url).href,
}

registerHooks({
  resolve: (specifier, context, next) =>
    Object.hasOwn(ENTRIES, specifier) ? { url: ENTRIES[specifier], shortCircuit: true } : next(specifier, context),
})
