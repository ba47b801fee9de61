/** Authentication and TLS on a real broker, with certificates created for the test. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { KafkaSourceConfig } from '../../../src/generated/config-types.ts'
import { connect } from '../../../src/connectors/kafka/connect.ts'
import { ConnectionError, EnvironmentError } from '../../../src/contract/plugin.ts'
import { producerOptions, unique } from '../../conformance/driver-lib.ts'
import { makeCa, makeCertificate } from '../../support/certificates.ts'
import { type KafkaServer, startKafka } from '../../support/servers/kafka.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { sourceConfig } from './config.ts'
import { compileJava, java } from './java.ts'
import { testLog } from './make.ts'

const dir = mkdtempSync(join(tmpdir(), 'kafka-tls-'))
const path = (name: string): string => join(dir, name)
let kafka: KafkaServer
let ports: { sasl: number; saslTls: number; tls: number; iam: number }
let tokens: Server

function makeCertificates(): void {
  for (const ca of ['ca', 'other-ca']) makeCa(dir, ca)
  makeCertificate(dir, 'broker', 'subjectAltName=IP:127.0.0.1')
  makeCertificate(dir, 'client', 'extendedKeyUsage=clientAuth')
  writeFileSync(path('keystore.pem'), readFileSync(path('broker.key'), 'utf8') + readFileSync(path('broker.pem'), 'utf8'))
}

beforeAll(async () => {
  makeCertificates()
  await compileJava('Iam.java', dir)
  const [plain, controller, sasl, saslTls, tls, iam] = await freePorts(6)
  ports = { sasl, saslTls, tls, iam }
  const at = { PLAINTEXT: plain, LOGIN: sasl, SECURE: saslTls, TLS: tls, IAM: iam }
  const addresses = Object.entries(at).map(([name, port]) => `${name}://127.0.0.1:${port}`)
  const plainLogin = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="right";'
  const scramLogin = 'org.apache.kafka.common.security.scram.ScramLoginModule required;'
  const tokenLogin = 'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
  const logins = ['login', 'secure'].flatMap(listener => [
    [`listener.name.${listener}.sasl.enabled.mechanisms`, 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER'],
    [`listener.name.${listener}.plain.sasl.jaas.config`, plainLogin],
    [`listener.name.${listener}.scram-sha-256.sasl.jaas.config`, scramLogin],
    [`listener.name.${listener}.scram-sha-512.sasl.jaas.config`, scramLogin],
    [`listener.name.${listener}.oauthbearer.sasl.jaas.config`, tokenLogin],
  ])
  logins.push(
    ['listener.name.iam.sasl.enabled.mechanisms', 'OAUTHBEARER'],
    ['listener.name.iam.oauthbearer.sasl.jaas.config', tokenLogin],
    ['listener.name.iam.oauthbearer.sasl.server.callback.handler.class', 'Iam'],
  )
  kafka = await startKafka({
    port: plain,
    classes: dir,
    properties: {
      listeners: [...addresses, `CONTROLLER://127.0.0.1:${controller}`].join(),
      'advertised.listeners': addresses.join(),
      'controller.quorum.voters': `1@127.0.0.1:${controller}`,
      'inter.broker.listener.name': 'PLAINTEXT',
      'listener.security.protocol.map':
        'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT,SECURE:SASL_SSL,TLS:SSL,IAM:SASL_SSL',
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': path('keystore.pem'),
      'ssl.truststore.type': 'PEM',
      'ssl.truststore.location': path('ca.pem'),
      'listener.name.tls.ssl.client.auth': 'required',
      ...Object.fromEntries(logins),
    },
  })
  await java('scram', kafka.brokers, '0', 'bob:secret')
  const b64 = (o: object): string => Buffer.from(JSON.stringify(o)).toString('base64url')
  tokens = createServer((request, response) => {
    const right = request.headers.authorization === `Basic ${Buffer.from('carol:pw').toString('base64')}`
    if (!right) return void response.writeHead(401).end()
    const now = Math.floor(Date.now() / 1000)
    response.end(
      JSON.stringify({ access_token: `${b64({ alg: 'none' })}.${b64({ sub: 'carol', iat: now, exp: now + 600 })}.`, expires_in: 600 }),
    )
  })
  await new Promise<void>(resolve => tokens.listen(0, '127.0.0.1', resolve))
})

afterAll(async () => {
  tokens?.close()
  await kafka?.stop()
  rmSync(dir, { recursive: true, force: true })
})

const config = (own: Partial<KafkaSourceConfig>): KafkaSourceConfig => sourceConfig({ topics: ['t'], ...own })
const login = (mechanism: KafkaSourceConfig['sasl_mechanism'], sasl_username: string, sasl_password: string) =>
  config({
    brokers: `127.0.0.1:${ports.sasl}`,
    security_protocol: 'SASL_PLAINTEXT',
    sasl_mechanism: mechanism,
    sasl_username,
    sasl_password,
  })
const secure = (own: Partial<KafkaSourceConfig> = {}) =>
  config({
    brokers: `127.0.0.1:${ports.saslTls}`,
    security_protocol: 'SASL_SSL',
    sasl_username: 'alice',
    sasl_password: 'right',
    tls_ca: path('ca.pem'),
    ...own,
  })
const token = (sasl_password: string) =>
  config({
    ...login('OAUTHBEARER', 'carol', sasl_password),
    sasl_oauth_token_url: `http://127.0.0.1:${(tokens.address() as AddressInfo).port}/token`,
  })

/** Writes, reads as a member of a group, commits a transaction: every kind of connection the driver opens. */
async function works(c: KafkaSourceConfig): Promise<void> {
  const handle = await connect(c, testLog)
  const { driver } = handle
  const topic = unique('secure')
  await driver.createTopics([{ topic, partitions: 1 }])
  const producer = await driver.producer(producerOptions)
  await producer.send([{ topic, key: null, value: 'one', headers: undefined, time: Date.now() }])
  const transactor = driver.transactor({ id: topic, producer: producerOptions })
  const lane = { id: `${topic}/0`, source: 's', topic, partition: 0, group: topic }
  await transactor.claim(lane)
  await transactor.save(lane, { position: 1, state: [] })
  const errors: Error[] = []
  const consumer = driver.consumer({
    topics: [topic],
    group: unique('g'),
    startAt: 'earliest',
    format: 'text',
    source: 's',
    isolation: 'read_committed',
    sessionTimeoutMs: 10_000,
    maxBytes: 1_048_576,
    maxWaitMs: 100,
    onError: e => errors.push(e),
  })
  await consumer.open({ assigned: async () => new Map(), revoked: async () => {}, lost: () => {} })
  expect((await consumer.poll(AbortSignal.timeout(10_000))).messages.map(m => m.value)).toEqual(['one'])
  expect(errors).toEqual([])
  await handle.release()
}

async function refused(c: KafkaSourceConfig): Promise<Error> {
  const error = await connect(c, testLog).then(
    async handle => {
      await handle.release()
      throw new Error('it was let in')
    },
    (e: Error) => e,
  )
  for (const secret of ['wrong-3f', 'right', 'secret'])
    expect(`${error.message}${error.stack}`.replaceAll('sasl_', '')).not.toContain(`"${secret}"`)
  return error
}

test('PLAIN', async () => {
  await works(login('PLAIN', 'alice', 'right'))
  const error = await refused(login('PLAIN', 'alice', 'wrong-3f'))
  expect(error).toBeInstanceOf(EnvironmentError)
  expect(error.message).toMatch(/Authentication failed.*check sasl_mechanism, sasl_username and sasl_password/s)
})

test.each(['SCRAM-SHA-256', 'SCRAM-SHA-512'] as const)('%s', async mechanism => {
  await works(login(mechanism, 'bob', 'secret'))
  expect(await refused(login(mechanism, 'bob', 'wrong-3f'))).toBeInstanceOf(EnvironmentError)
  expect(await refused(login(mechanism, 'nobody', 'secret'))).toBeInstanceOf(EnvironmentError)
})

test('OAUTHBEARER gets tokens from a token URL', async () => {
  await works(token('pw'))
  const wrong = await refused(token('wrong-3f'))
  expect(wrong).toBeInstanceOf(EnvironmentError)
  expect(wrong.message).toMatch(/returned no token: HTTP 401/)
  const bad = await refused(config({ ...login('OAUTHBEARER', '', ''), sasl_oauth_token: 'no.token.' }))
  expect(bad).toBeInstanceOf(EnvironmentError)
})

test('AWS_MSK_IAM sends a signed URL as the token', async () => {
  const iam = (sasl_username: string) =>
    secure({ brokers: `127.0.0.1:${ports.iam}`, sasl_mechanism: 'AWS_MSK_IAM', sasl_aws_region: 'eu-west-1', sasl_username })
  await works(iam('AKID'))
  const wrong = await refused(iam('wrong'))
  expect(wrong).toBeInstanceOf(EnvironmentError)
  expect(wrong.message).toMatch(/does not accept the OAUTHBEARER token: .*invalid_token.*; check the AWS credentials, their IAM policy/)
})

test('TLS with credentials works, and certificates are verified', async () => {
  await works(secure())
  for (const [own, text] of [
    [{ tls_ca: '' }, /not signed by a trusted CA .*; set tls_ca/],
    [{ tls_ca: path('other-ca.pem') }, /not signed by a trusted CA .*; set tls_ca/],
    [{ brokers: `localhost:${ports.saslTls}` }, /does not have the host name .*localhost.*use a name of the certificate in brokers/],
  ] as const) {
    const error = await refused(secure(own))
    expect(error, JSON.stringify(own)).toBeInstanceOf(EnvironmentError)
    expect(error.message).toMatch(text)
  }
  await works(secure({ tls_ca: '', tls_insecure_skip_verify: true }))
  const missing = await refused(secure({ tls_ca: path('nothing.pem') }))
  expect(missing.message).toMatch(/cannot read tls_ca/)
})

test('TLS with a client certificate', async () => {
  const tls = { brokers: `127.0.0.1:${ports.tls}`, security_protocol: 'SSL', tls_ca: path('ca.pem') } as const
  await works(config({ ...tls, tls_cert: path('client.pem'), tls_key: path('client.key') }))
  const without = await refused(config(tls))
  expect(without).toBeInstanceOf(EnvironmentError)
  expect(without.message).toMatch(/client certificate.*set tls_cert and tls_key/)
})

test('a wrong protocol for a port is reported without waiting for a timeout', async () => {
  const plain = await refused(config({ brokers: kafka.brokers, security_protocol: 'SSL', tls_ca: path('ca.pem') }))
  expect(plain).toBeInstanceOf(EnvironmentError)
  expect(plain.message).toMatch(/TLS.*set security_protocol: PLAINTEXT/)
  const secured = await refused(config({ brokers: `127.0.0.1:${ports.tls}` }))
  expect(secured).toBeInstanceOf(ConnectionError)
  expect(secured.message).toMatch(/if the port expects TLS, set security_protocol: SSL/)
  const login = await refused(config({ brokers: `127.0.0.1:${ports.sasl}` }))
  expect(login).toBeInstanceOf(EnvironmentError)
  expect(login.message).toMatch(/may require a login \(SASL\): check security_protocol/)
  expect(await refused(config({ brokers: '127.0.0.1:1' }))).toBeInstanceOf(ConnectionError)
})
