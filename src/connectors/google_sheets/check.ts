/** The checks of `runner check`, which write nothing. */
import { existsSync } from 'node:fs'
import type { GoogleSheetsSinkConfig } from '../../generated/config-types.ts'
import type { CheckResult, CheckContext } from '../../contract/plugin.ts'
import { connectionOf, Posts } from './posts.ts'

export async function checkSheets(config: GoogleSheetsSinkConfig, ctx: CheckContext): Promise<CheckResult[]> {
  if (!config.post) return [{ what: 'Google Sheets', ok: true, detail: 'shadow mode (post: false): no rows are posted' }]
  return [credentials(config), await postsTable(config, ctx)]
}

function credentials({ credentials: path, access_token: token }: GoogleSheetsSinkConfig): CheckResult {
  const what = 'Google credentials'
  if (token !== '') return { what, ok: true, detail: 'an access token' }
  if (path === '')
    return { what, ok: false, detail: 'not set', fix: 'set GOOGLE_APPLICATION_CREDENTIALS to the path of a service account key (JSON)' }
  return existsSync(path)
    ? { what, ok: true, detail: path }
    : { what, ok: false, detail: `${path} does not exist`, fix: 'set credentials to the path of a service account key (JSON)' }
}

async function postsTable(config: GoogleSheetsSinkConfig, ctx: CheckContext): Promise<CheckResult> {
  const what = `table ${config.posts_table}`
  const posts = new Posts(connectionOf(config), config.posts_table, ctx.log)
  try {
    await posts.open()
    return { what, ok: true }
  } catch (error) {
    return { what, ok: false, detail: (error as Error).message, fix: 'runner sql apply pipelines/sql' }
  } finally {
    await posts.close()
  }
}
