/** Checks the text of a file, which need not be that on the disk. */
import { type LoadOptions, loadText } from '../../config/load.ts'
import type { Problem } from '../../config/model.ts'

export async function validateText(
  file: string,
  text: string,
  kind: 'pipeline' | 'test' | 'catalog',
  options: LoadOptions,
): Promise<{ readonly problems: readonly Problem[] }> {
  if (kind === 'pipeline') return loadText(file, text, options)
  if (kind === 'catalog') return (await import('../../operations/catalog.ts')).loadCatalogText(file, text, options.env)
  return (await import('./test-file.ts')).validateTestFile(file, options)
}
