/** Loads the expression language on demand: it is a third of the start time of a pipeline without expressions. */
type Language = typeof import('./index.ts')

let language: Pick<Language, 'check' | 'compile' | 'keyParts'> | undefined

export const loadLanguage = (): Promise<Language> => import('./index.ts')

/** Called by `index.ts` when it is loaded. */
export function provideLanguage(loaded: NonNullable<typeof language>): void {
  language = loaded
}

/** @throws {Error} if it has not been loaded */
export function loadedLanguage(): NonNullable<typeof language> {
  if (!language) throw new Error('the expression language is not loaded: await loadLanguage() first')
  return language
}
