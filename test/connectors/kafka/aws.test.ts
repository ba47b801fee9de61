/** The signatures are compared with those that AWS publishes. There is no AWS behind these tests. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { awsCredentials, mskToken, signedUrl } from '../../../src/connectors/kafka/client/aws.ts'
import { awsRegion, validateConnection } from '../../../src/connectors/kafka/connect.ts'
import { tempDir } from '../../support/runner.ts'
import { sourceConfig } from './config.ts'

test('a signed URL is the one in the documentation of Amazon S3 (authenticating requests, query parameters)', () => {
  const url = signedUrl(
    { id: 'AKIAIOSFODNN7EXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' },
    {
      host: 'examplebucket.s3.amazonaws.com',
      path: '/test.txt',
      query: {},
      service: 's3',
      region: 'us-east-1',
      seconds: 86_400,
      payload: 'UNSIGNED-PAYLOAD',
    },
    Date.UTC(2013, 4, 24),
  )
  expect(url).toBe(
    'https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
  )
})

test('the token has the parts of the one that the signer of AWS makes', () => {
  const token = mskToken('eu-west-1', { id: 'AKID', secret: 'secret', session: 'a+b/c=' }, Date.UTC(2026, 0, 2, 3, 4, 5, 678))
  expect(token).toMatch(/^[\w-]+$/)
  const url = new URL(Buffer.from(token, 'base64url').toString())
  expect(`${url.origin}${url.pathname}`).toBe('https://kafka.eu-west-1.amazonaws.com/')
  expect(Object.fromEntries(url.searchParams)).toEqual({
    Action: 'kafka-cluster:Connect',
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': 'AKID/20260102/eu-west-1/kafka-cluster/aws4_request',
    'X-Amz-Date': '20260102T030405Z',
    'X-Amz-Expires': '900',
    'X-Amz-SignedHeaders': 'host',
    'X-Amz-Security-Token': 'a+b/c=',
    'X-Amz-Signature': expect.stringMatching(/^[0-9a-f]{64}$/),
    'User-Agent': 'pipeline-runner',
  })
})

test('credentials: settings, environment, shared file', () => {
  const none = { sasl_username: '', sasl_password: '' }
  const env = { AWS_ACCESS_KEY_ID: 'e', AWS_SECRET_ACCESS_KEY: 'es', AWS_SESSION_TOKEN: 't' }
  expect(awsCredentials({ sasl_username: 'u', sasl_password: 'p' }, env)).toEqual({ id: 'u', secret: 'p' })
  expect(awsCredentials(none, env)).toEqual({ id: 'e', secret: 'es', session: 't' })
  const dir = tempDir({
    credentials: `[default]\naws_access_key_id = d\naws_secret_access_key=ds\n\n[ ci ]\r\nAWS_ACCESS_KEY_ID = c\r\naws_secret_access_key = cs\r\naws_session_token = ct\r\n# [x]\n[half]\naws_access_key_id = h\n`,
  })
  const file = { AWS_SHARED_CREDENTIALS_FILE: join(dir, 'credentials') }
  expect(awsCredentials(none, file)).toEqual({ id: 'd', secret: 'ds', session: undefined })
  expect(awsCredentials(none, { ...file, AWS_PROFILE: 'ci' })).toEqual({ id: 'c', secret: 'cs', session: 'ct' })
  for (const AWS_PROFILE of ['half', 'other'])
    expect(() => awsCredentials(none, { ...file, AWS_PROFILE })).toThrow(
      `no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile ${AWS_PROFILE} in ${file.AWS_SHARED_CREDENTIALS_FILE}`,
    )
})

test('settings: the region is in the addresses of Amazon, TLS is required, both keys or none', () => {
  const msk = { security_protocol: 'SASL_SSL', sasl_mechanism: 'AWS_MSK_IAM' } as const
  const brokers = 'b-1.bars.abc123.c2.kafka.eu-west-1.amazonaws.com:9098'
  const problems = (own: object) => validateConnection(sourceConfig({ topics: ['t'], ...msk, brokers, ...own })).map(p => p.path[0])
  expect(awsRegion({ brokers, sasl_aws_region: '' })).toBe('eu-west-1')
  expect(awsRegion({ brokers: 'boot-x.c1.kafka-serverless.us-east-2.amazonaws.com:9098', sasl_aws_region: '' })).toBe('us-east-2')
  expect(awsRegion({ brokers, sasl_aws_region: 'eu-north-1' })).toBe('eu-north-1')
  expect(problems({})).toEqual([])
  expect(problems({ brokers: 'kafka:9098' })).toEqual(['sasl_aws_region'])
  expect(problems({ brokers: 'kafka:9098', sasl_aws_region: 'eu-west-1' })).toEqual([])
  expect(problems({ security_protocol: 'SASL_PLAINTEXT' })).toEqual(['security_protocol'])
  expect(problems({ sasl_username: 'AKID' })).toEqual(['sasl_password'])
  expect(problems({ sasl_password: 'x' })).toEqual(['sasl_username'])
})
