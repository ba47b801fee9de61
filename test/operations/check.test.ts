/** `runner check`, and ACLs by `runner topics`, on a broker with logins and an authorizer. */
import { createServer } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runRunner, tempDir } from '../support/runner.ts'
import { type KafkaServer, startKafka } from '../support/servers/kafka.ts'
import { freePorts } from '../support/servers/ports.ts'
import { unique } from '../support/unique.ts'

let kafka: KafkaServer
let sasl: number

beforeAll(async () => {
  const [plain, controller, login] = await freePorts(3)
  sasl = login
  const users = 'user_admin="a" user_alice="right" user_bob="b"'
  kafka = await startKafka({
    port: plain,
    properties: {
      listeners: `PLAINTEXT://127.0.0.1:${plain},LOGIN://127.0.0.1:${login},CONTROLLER://127.0.0.1:${controller}`,
      'advertised.listeners': `PLAINTEXT://127.0.0.1:${plain},LOGIN://127.0.0.1:${login}`,
      'controller.quorum.voters': `1@127.0.0.1:${controller}`,
      'inter.broker.listener.name': 'PLAINTEXT',
      'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT',
      'listener.name.login.sasl.enabled.mechanisms': 'PLAIN',
      'listener.name.login.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required ${users};`,
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'super.users': 'User:ANONYMOUS;User:admin',
    },
  })
})
afterAll(() => kafka?.stop())

const alice = (password = 'right'): Record<string, string> => ({
  KAFKA_BROKERS: `127.0.0.1:${sasl}`,
  KAFKA_SECURITY_PROTOCOL: 'SASL_PLAINTEXT',
  KAFKA_SASL_USERNAME: 'alice',
  KAFKA_SASL_PASSWORD: password,
})
const admin = (): Record<string, string> => ({ KAFKA_BROKERS: kafka.brokers })

const pipeline = (name: string, input: string, output: string, delivery = 'exactly_once'): string =>
  `name: ${name}\nsources: [{ kafka: { topics: [${input}] } }]\ntransforms: [{ filter: "true" }]\nsinks: [{ kafka: { topic: ${output}, create_topics: false } }]\ndelivery: ${delivery}\n`

const findings = async (dir: string, env: Record<string, string>): Promise<{ code: number | null; list: Record<string, any> }> => {
  const { code, stdout, stderr } = await runRunner(['check', `${dir}/p.yaml`, '--json'], { env })
  if (stdout === '') throw new Error(stderr)
  const list = (JSON.parse(stdout).pipelines[0].steps as any[]).flatMap(s => s.findings as any[])
  return { code, list: Object.fromEntries(list.map(f => [f.what, f])) }
}

test('every missing permission is reported with the command that grants it; the grants of the catalog are sufficient', async () => {
  const [name, input, output] = [unique('p'), unique('in'), unique('out')]
  const dir = tempDir({ 'p.yaml': pipeline(name, input, output) })
  const denied = await findings(dir, alice())
  expect(denied.code).toBe(3)
  expect(denied.list[`broker 127.0.0.1:${sasl}`]).toMatchObject({ ok: true, detail: 'SASL_PLAINTEXT, PLAIN, logged in as alice' })
  for (const what of [
    `topic ${input}`,
    `topic ${output}`,
    `group ${name}`,
    `transactional ids ${name}.1|*`,
    `checkpoint topic __runner.${name}.1.checkpoint`,
  ]) {
    const { ok, fix } = denied.list[what] ?? {}
    // A topic without DESCRIBE permission looks like a missing one.
    if (ok) expect(denied.list[what].detail).toBe('will be created')
    else expect(fix, what).toMatch(/kafka-acls .*User:alice --operation|runner topics create/)
  }
  const acls = (ops: string): string => `acls: [{ principal: "User:alice", operations: [${ops}] }]`
  const catalog = tempDir({
    'c.yaml': `topics:\n  - name: ${input}\n    ${acls('read')}\n  - name: ${output}\n    ${acls('describe')}\ngroups:\n  - name: ${name}\n    ${acls('read')}\n`,
  })
  expect((await runRunner(['topics', 'apply', catalog], { env: admin() })).code).toBe(0)
  await expect
    .poll(async () => (await runRunner(['topics', 'plan', catalog, '--prune', '--json'], { env: admin() })).stdout)
    .not.toContain('"grant"')
  const partly = await findings(dir, alice())
  expect(partly.list[`topic ${input}`]).toMatchObject({ ok: true })
  expect(partly.list[`group ${name}`]).toMatchObject({ ok: true })
  expect(partly.list[`topic ${output}`]).toMatchObject({ ok: false, fix: expect.stringContaining(`--operation Write --topic ${output}`) })
  expect(partly.list[`transactional ids ${name}.1|*`]).toMatchObject({
    ok: false,
    fix: expect.stringContaining('--resource-pattern-type prefixed'),
  })
  const all = await findings(dir, { ...alice(), KAFKA_SASL_USERNAME: 'admin', KAFKA_SASL_PASSWORD: 'a' })
  expect(all.code).toBe(0)
})

test('with the topics, groups and transactional ids of a catalog, a login runs exactly once; the plan is then empty', async () => {
  const [name, input, output] = [unique('p'), unique('in'), unique('out')]
  const dir = tempDir({ 'p.yaml': pipeline(name, input, output) })
  const acls = (ops: string): string => `acls: [{ principal: "User:alice", operations: [${ops}] }]`
  const catalog = (ids: string): string =>
    tempDir({
      'c.yaml': `topics:
  - name: ${input}
    ${acls('read, describe')}
  - name: ${output}
    ${acls('write, describe')}
  - name: __runner.${name}.1.checkpoint
    config: { cleanup.policy: compact }
    ${acls('read, write, describe')}
groups:
  - name: ${name}
    ${acls('read, describe')}
${ids}`,
    })
  const granted = catalog(`transactional_ids:\n  - name: "${name}.1|"\n    ${acls('write, describe')}\n`)
  const { code, stdout, stderr } = await runRunner(['topics', 'apply', granted], { env: admin() })
  expect(code, stderr).toBe(0)
  expect(stdout).toContain(`transactional id ${name}.1|*`)
  const plan = async (...args: string[]): Promise<any[]> =>
    JSON.parse((await runRunner(['topics', 'plan', ...args, '--json'], { env: admin() })).stdout).changes as any[]
  await expect.poll(async () => (await plan(granted)).map(c => c.subject)).toEqual([])
  const { list } = await findings(dir, alice())
  expect(Object.values(list).filter(f => !f.ok)).toEqual([])
  const run = await runRunner(['run', `${dir}/p.yaml`, '--until-idle', '500ms'], { env: alice() })
  expect(run.code, run.stderr).toBe(0)
  // Another beginning is another right; this one is taken away only with --prune.
  const other = catalog(`transactional_ids:\n  - { name: "${name}.1|", prefixed: false, ${acls('write')} }\n`)
  const changes = (await plan(other, '--prune')).filter(c => c.subject.includes(name) && c.what === 'acl')
  expect(changes.map(c => [c.action, c.subject])).toEqual([['grant', `transactional id ${name}.1|`]])
})

test('ACLs that were removed from the catalog are deleted only with --prune --yes, those of other topics never', async () => {
  const [mine, other] = [unique('mine'), unique('other')]
  const write = (ops: string): string =>
    tempDir({ 'c.yaml': `topics:\n  - name: ${mine}\n    acls: [{ principal: "User:bob", operations: [${ops}] }]\n` })
  const foreign = tempDir({ 'c.yaml': `topics:\n  - name: ${other}\n    acls: [{ principal: "User:bob", operations: [read] }]\n` })
  for (const dir of [write('read, write'), foreign]) expect((await runRunner(['topics', 'apply', dir], { env: admin() })).code).toBe(0)
  const plan = async (): Promise<string[]> => {
    const { stdout } = await runRunner(['topics', 'plan', write('read'), '--prune', '--json'], { env: admin() })
    return (JSON.parse(stdout).changes as any[]).filter(c => c.action === 'revoke').map(c => `${c.subject}: ${c.from}`)
  }
  await expect.poll(plan).toEqual([`topic ${mine}: allow write to User:bob`])
  const kept = tempDir({
    'c.yaml': `topics:\n  - name: ${mine}\n    acls: [{ principal: "User:bob", operations: [read] }]\n  - name: ${other}\n`,
  })
  expect((await runRunner(['topics', 'apply', kept], { env: admin() })).code).toBe(0)
  expect(await plan()).toHaveLength(1)
})

test('unreachable brokers, a wrong password and a wrong protocol are each reported with a fix', async () => {
  const dir = tempDir({ 'p.yaml': pipeline(unique('p'), 'a', 'b', 'at_least_once') })
  const text = async (env: Record<string, string>) => (await runRunner(['check', `${dir}/p.yaml`], { env })).stdout
  expect(await text(alice('wrong'))).toMatch(/FAILED {2}broker .*Authentication failed[^]*check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME/)
  const away = await text({ ...alice(), KAFKA_BROKERS: `127.0.0.1:1,127.0.0.1:${sasl}` })
  expect(away).toMatch(/FAILED {2}broker 127\.0\.0\.1:1: .*\n +do: nc -vz 127\.0\.0\.1 1;/)
  expect(away).toContain(`ok      broker 127.0.0.1:${sasl}`)
  expect(await text({ KAFKA_BROKERS: `127.0.0.1:${sasl}` })).toContain('security_protocol')
})

test('the command for a missing topic creates it with the settings of the step', async () => {
  const dir = tempDir({
    'p.yaml':
      'name: p\nsources: [{ generate: { count: 1, fields: { a: { value: 1 } } } }]\nsinks: [{ kafka: { topic: none-1, partitions: 5, create_topics: false } }, { kafka: { topic: none-2, create_topics: false } }]\n',
  })
  const { code, stdout } = await runRunner(['check', `${dir}/p.yaml`], { env: admin() })
  expect(code).toBe(3)
  expect(stdout).toMatch(/do: runner topics create none-1 --partitions 5\n[^]*do: runner topics create none-2\n/)
})

test('a peer that accepts and does not respond takes no longer than the time limit', async () => {
  const mute = createServer()
  await new Promise<void>(resolve => mute.listen(0, '127.0.0.1', resolve))
  const { port } = mute.address() as { port: number }
  try {
    const dir = tempDir({ 'p.yaml': pipeline(unique('p'), 'a', 'b', 'at_least_once') })
    const { code, stdout } = await runRunner(['check', `${dir}/p.yaml`, '--timeout', '1s'], {
      env: { KAFKA_BROKERS: `127.0.0.1:${port}` },
    })
    expect(code).toBe(3)
    expect(stdout).toContain('no answer within 1000 ms')
  } finally {
    mute.close()
  }
})

test('if a kafka sink holds the checkpoint of another source, its transactional ids are checked', async () => {
  const [name, output] = [unique('p'), unique('out')]
  const dir = tempDir({
    'p.yaml': `name: ${name}\nsources: [{ generate: { count: 1, fields: { a: { value: 1 } } } }]\nsinks: [{ kafka: { topic: ${output} } }]\ndelivery: exactly_once\n`,
  })
  const { list } = await findings(dir, alice())
  expect(list[`transactional ids ${name}.1|*`]).toMatchObject({ ok: false, fix: expect.stringContaining('--operation Write') })
})

test('embedded log and files: the check creates no files, and missing ones are reported', async () => {
  const cwd = tempDir({
    'p.yaml': `name: p\nsources: [{ file: { path: nowhere.jsonl } }, { kafka: { topics: [t] } }, { generate: { count: 1, fields: { a: { value: 1 } } } }]\nsinks: [{ file: { path: out/x.jsonl } }, { stdout: {} }]\n`,
    'wrong.yaml': 'name: p\nsources: [{ fiel: { path: x } }]\nsinks: [{ stdout: {} }]\n',
  })
  const { code, stdout, stderr } = await runRunner(['check', 'p.yaml'], {
    cwd,
    env: { KAFKA_BROKERS: undefined, RUNNER_STATE_DIR: 'state' },
  })
  expect(code, stderr).toBe(3)
  expect(stdout).toMatch(/FAILED {2}file nowhere.jsonl: does not exist/)
  expect(stdout).toContain('ok      embedded log state/log.db: will be created')
  expect(stdout).toContain('ok      file out/x.jsonl: will be created')
  const { existsSync } = await import('node:fs')
  expect([`${cwd}/state`, `${cwd}/out`].some(existsSync)).toBe(false)
  expect((await runRunner(['check', 'wrong.yaml'], { cwd })).code).toBe(2)
})
