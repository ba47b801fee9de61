/**
 * Logins of Amazon MSK by IAM. The token of OAUTHBEARER is the URL of a request `kafka-cluster:Connect`, signed with Signature Version 4:
 * the broker repeats the signature. Credentials are read for each login, so that renewed ones are used.
 */
import { createHash, createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { EnvironmentError } from '../../../contract/plugin.ts'

export interface AwsCredentials {
  readonly id: string
  readonly secret: string
  /** Of temporary credentials. */
  readonly session?: string
}

export interface SignedRequest {
  readonly host: string
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly service: string
  readonly region: string
  /** Validity. */
  readonly seconds: number
  /** Hash of the body. Default: of an empty one. */
  readonly payload?: string
}

const SECONDS = 900

const hash = (text: string): string => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const encode = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

/** The URL of a signed GET. @param now epoch ms */
export function signedUrl({ id, secret, session }: AwsCredentials, request: SignedRequest, now: number): string {
  const { host, path, service, region, seconds, payload = hash('') } = request
  const time = new Date(now).toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const scope = [time.slice(0, 8), region, service, 'aws4_request']
  const query = Object.entries({
    ...request.query,
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': [id, ...scope].join('/'),
    'X-Amz-Date': time,
    'X-Amz-Expires': String(seconds),
    'X-Amz-SignedHeaders': 'host',
    ...(session !== undefined && { 'X-Amz-Security-Token': session }),
  })
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .join('&')
  const canonical = ['GET', path, query, `host:${host}`, '', 'host', payload].join('\n')
  const key = scope.reduce<string | Buffer>(hmac, `AWS4${secret}`)
  const signature = hmac(key, ['AWS4-HMAC-SHA256', time, scope.join('/'), hash(canonical)].join('\n')).toString('hex')
  return `https://${host}${path}?${query}&X-Amz-Signature=${signature}`
}

/** @param now epoch ms */
export function mskToken(region: string, credentials: AwsCredentials, now: number): string {
  const request = { host: `kafka.${region}.amazonaws.com`, path: '/', query: { Action: 'kafka-cluster:Connect' } }
  const url = signedUrl(credentials, { ...request, service: 'kafka-cluster', region, seconds: SECONDS }, now)
  return Buffer.from(`${url}&User-Agent=pipeline-runner`).toString('base64url')
}

/** From the settings, the environment or the shared file, in this order. @throws {EnvironmentError} */
export function awsCredentials(c: { sasl_username: string; sasl_password: string }, env = process.env): AwsCredentials {
  if (c.sasl_username !== '') return { id: c.sasl_username, secret: c.sasl_password }
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: session } = env
  if (id && secret) return { id, secret, session: session || undefined }
  const file = env.AWS_SHARED_CREDENTIALS_FILE || join(homedir(), '.aws/credentials')
  const profile = env.AWS_PROFILE || 'default'
  let text = ''
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    // The error below names the file.
  }
  const found = profileOf(text, profile)
  if (found) return found
  throw new EnvironmentError(
    `no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile ${profile} in ${file}; roles of EC2, ECS and EKS are not read: write their credentials to that file (\`aws configure export-credentials\`), which is read for each login`,
  )
}

function profileOf(text: string, profile: string): AwsCredentials | undefined {
  const values = new Map<string, string>()
  let inside = false
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[\s*([^\]]*?)\s*\]/.exec(line)
    if (section) inside = section[1] === profile
    const pair = inside ? /^\s*(\w+)\s*=\s*(\S+)\s*$/.exec(line) : null
    if (pair) values.set(pair[1].toLowerCase(), pair[2])
  }
  const [id, secret, session] = ['aws_access_key_id', 'aws_secret_access_key', 'aws_session_token'].map(name => values.get(name))
  return id !== undefined && secret !== undefined ? { id, secret, session } : undefined
}
