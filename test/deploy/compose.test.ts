/** `docker-compose.yml`, the overlay `docker-compose.kafka.yml`, and what belongs to them, as far as that can be seen without an engine. */
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadPipeline } from '../../src/config/load.ts'
import spec from './compose-spec.json' with { type: 'json' }

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

interface Service {
  image?: string
  command?: string[]
  ports?: string[]
  profiles?: string[]
  volumes?: string[]
  environment?: Record<string, string>
  depends_on?: Record<string, unknown>
}
interface ComposeFile {
  name?: string
  services: Record<string, Service>
  volumes: Record<string, unknown>
}
const overlay = parse(read('docker-compose.kafka.yml'), { merge: true }) as ComposeFile
const base = parse(read('docker-compose.yml'), { merge: true }) as ComposeFile
/** Both, as `-f docker-compose.yml -f docker-compose.kafka.yml` merges files that have no service in common. */
const file: ComposeFile = {
  ...base,
  ...overlay,
  services: { ...base.services, ...overlay.services },
  volumes: { ...base.volumes, ...overlay.volumes },
}
const flows = readdirSync(join(root, 'pipelines'))
  .filter(f => /^[a-z-]+\.yaml$/.test(f))
  .map(f => f.replace('.yaml', ''))

const hasPromtool = (): boolean => {
  try {
    execFileSync('promtool', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
const hasCompose = (): boolean => {
  try {
    execFileSync('docker', ['compose', 'version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** As compose reads it with nothing set. */
const byDefault = (text: string): string => text.replace(/\$\{\w+:-([^}]*)\}/g, '$1')

describe('docker-compose.yml and docker-compose.kafka.yml', () => {
  // Compose's own check where its client is; its published schema anywhere.
  test('is a compose file', () => {
    const ajv = new Ajv({ strict: false, logger: false, formats: { duration: true, subnet_ip_address: true, ports: true, expose: true } })
    const validate = ajv.compile({ ...spec, $schema: 'http://json-schema.org/draft-07/schema#' })
    for (const each of [base, overlay]) expect(validate(each) ? [] : validate.errors).toEqual([])
    if (!hasCompose()) return
    const both = ['-f', 'docker-compose.yml', '-f', 'docker-compose.kafka.yml']
    for (const files of [both, both.slice(2)])
      execFileSync('docker', ['compose', ...files, '--profile', 'all', '--profile', 'ops', 'config', '-q'], { cwd: root })
  })

  test('has no version key, and the broker of the contract', () => {
    for (const each of [base, overlay]) expect(each).not.toHaveProperty('version')
    const { image, ports, command } = file.services.kafka
    expect(image).toBe('redpandadata/redpanda:v23.3.10')
    expect(ports).toEqual(['127.0.0.1:9092:19092', '127.0.0.1:29092:29092'])
    // Each address that is published is advertised by the listener behind it.
    expect(command!.join(' ')).toContain('--kafka-addr=internal://0.0.0.0:9092,local://0.0.0.0:19092,external://0.0.0.0:29092')
    expect(command!.join(' ')).toContain('--advertise-kafka-addr=internal://kafka:9092,local://localhost:9092,external://localhost:29092')
    expect(file.services.console.ports!.map(byDefault)).toEqual(['127.0.0.1:8080:8080'])
  })

  test('everything is published on this machine only, each port once', () => {
    const ports = Object.values(file.services)
      .flatMap(s => s.ports ?? [])
      .map(byDefault)
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/)
    const host = ports.map(p => p.split(':')[1])
    expect(new Set(host).size).toBe(host.length)
  })

  test('merges into an existing file: no project name, no service names that clash, and no external dependency', () => {
    expect(overlay).not.toHaveProperty('name')
    expect(Object.keys(overlay.services).filter(name => Object.hasOwn(base.services, name))).toEqual([])
    for (const taken of ['redis', 'postgres', 'db', 'django', 'web', 'worker', 'celery', 'nginx', 'prometheus', 'grafana'])
      expect(overlay.services).not.toHaveProperty(taken)
    for (const [name, { depends_on, volumes }] of Object.entries(overlay.services)) {
      for (const other of Object.keys(depends_on ?? {})) expect([name, Object.hasOwn(overlay.services, other)]).toEqual([name, true])
      // Paths would start at the folder of the other file.
      for (const volume of volumes ?? []) expect(byDefault(volume)).not.toMatch(/^\.\.?\//)
    }
    expect(Object.keys(overlay.volumes).filter(name => Object.hasOwn(base.volumes, name))).toEqual([])
  })

  test('the services of the seed answer to their names, with its variables, and start by default; bars-to-redis does not', () => {
    for (const name of ['kafka', 'kafka-tick-to-bar', 'redis-to-kafka-mirror']) expect(file.services[name].profiles).toBeUndefined()
    expect(file.services['kafka-tick-to-bar']).toMatchObject({
      command: ['run', 'pipelines/bars.yaml'],
      environment: {
        KAFKA_BROKERS: 'kafka:9092',
        TICKS_TOPIC: '${TICKS_TOPIC:-ticks.BTCUSDT}',
        BARS_TOPIC: '${BARS_TOPIC:-bars.BTCUSDT.1m}',
        KAFKA_GROUP: '${KAFKA_GROUP:-bars-1m-builder}',
      },
    })
    expect(file.services['redis-to-kafka-mirror']).toMatchObject({
      command: ['run', 'pipelines/ticks-mirror.yaml'],
      environment: { KAFKA_BROKERS: 'kafka:9092', REDIS_URL: 'redis://redis:6379/0', TICKS_PATTERN: '${TICKS_PATTERN:-ticks.*}' },
    })
    expect(file.services['bars-to-redis'].profiles).toEqual(['bars-to-redis'])
    expect(file.services['bars-to-redis'].environment).toMatchObject({ REDIS_BARS_FOREIGN_KEY: '${REDIS_BARS_FOREIGN_KEY:-refuse}' })
  })

  test('every flow has a service, and every service runs an existing file', () => {
    const run = Object.values(file.services).flatMap(s =>
      s.command?.[0] === 'run' ? s.command.filter(w => w.startsWith('pipelines/')) : [],
    )
    expect([...new Set(run)].toSorted()).toEqual(flows.map(name => `pipelines/${name}.yaml`).toSorted())
    for (const { command } of Object.values(file.services))
      for (const word of command ?? [])
        if (/^(pipelines|topics)\//.test(word)) expect([word, existsSync(join(root, word))]).toEqual([word, true])
  })

  test('bars-reconcile is in the profile ops and does not start again', () => {
    expect(file.services['bars-reconcile']).toMatchObject({ profiles: ['ops'], restart: 'no' })
  })

  test('a variable that a service sets is one that its pipeline reads, or the image does', () => {
    const shared = new Set(['KAFKA_BROKERS', 'REDIS_URL', 'PG_DSN_RW'])
    const known = read('schemas/pipeline.schema.json')
    for (const [name, { command, environment }] of Object.entries(file.services)) {
      if (command?.[0] !== 'run') continue
      const text = command
        .filter(word => word.startsWith('pipelines/'))
        .map(read)
        .join('\n')
      for (const variable of Object.keys(environment ?? {}))
        if (!shared.has(variable))
          expect([name, variable, text.includes(`\${${variable}`) || known.includes(`\${${variable}`)]).toEqual([name, variable, true])
    }
  })

  test('the pipelines that it runs are valid with only the variables of the file', async () => {
    for (const [name, { command, environment }] of Object.entries(file.services)) {
      if (command?.[0] !== 'run') continue
      const env = Object.fromEntries(Object.entries(environment ?? {}).map(([key, value]) => [key, byDefault(value)]))
      for (const path of command.filter(word => word.startsWith('pipelines/'))) {
        const { problems } = await loadPipeline(join(root, path), { env })
        expect([name, problems.map(p => p.message)]).toEqual([name, []])
      }
    }
  })

  test('operations on wallets and /health/kafka are on port 3000', () => {
    expect(file.services['wallet-commands']).toMatchObject({
      command: ['run', 'pipelines/wallet-commands.yaml', 'pipelines/outbox.yaml'],
      environment: { HOST: '0.0.0.0' },
      ports: ['127.0.0.1:3000:3000'],
    })
  })

  test('its dependencies, mounts and ports exist', () => {
    const names = new Set(Object.keys(file.services))
    for (const { depends_on, volumes } of Object.values(file.services)) {
      for (const name of Array.isArray(depends_on) ? depends_on : Object.keys(depends_on ?? {})) expect(names).toContain(name)
      for (const volume of volumes ?? []) {
        const [from] = byDefault(volume).split(':')
        expect(/^[./]/.test(from) ? existsSync(resolve(root, from)) : Object.hasOwn(file.volumes, from)).toBe(true)
      }
    }
  })
})

test('.env.example: the broker of the contract, and only variables that are read', () => {
  const lines = read('.env.example').split('\n')
  expect(lines).toContain('KAFKA_BROKERS=localhost:9092')
  const asked = [
    read('schemas/pipeline.schema.json'),
    read('src/kit/state-dir.ts'),
    ...flows.map(name => read(`pipelines/${name}.yaml`)),
  ].join('\n')
  // Both files without -f: `docker compose stop kafka kafka-tick-to-bar redis-to-kafka-mirror`.
  expect(lines).toContain('COMPOSE_FILE=docker-compose.yml:docker-compose.kafka.yml')
  const names = lines.flatMap(line => /^#?([A-Z_]+)=/.exec(line)?.[1] ?? []).filter(name => !name.startsWith('COMPOSE_'))
  expect(names.length).toBeGreaterThan(15)
  for (const name of names) expect([name, new RegExp(`(\\{|env\\.)${name}\\b`).test(asked)]).toEqual([name, true])
})

describe('the image', () => {
  test('copies existing files, runs unprivileged, and reports its health', () => {
    const text = read('Dockerfile')
    for (const [, from] of text.matchAll(/^COPY (?!--)(\S+)/gm)) expect([from, existsSync(join(root, from))]).toEqual([from, true])
    expect(text).toMatch(/^USER node$/m)
    expect(text).toMatch(/^HEALTHCHECK /m)
    const ignored = read('.dockerignore')
    for (const [, from] of text.matchAll(/^COPY (?!--)(\S+) \S+$/gm)) expect(ignored).toContain(`!${from}`)
  })
})

describe('metrics', () => {
  test('alert rules and panels query metrics that exist', () => {
    const source = globSync('src/**/*.ts', { cwd: root, exclude: f => f.includes('generated') })
      .map(read)
      .join('\n')
    const asked = `${read('deploy/prometheus/alerts.yml')}${read('deploy/grafana/dashboards/pipelines.json')}`
    const names = new Set([...asked.matchAll(/\b(?:runner|kafka|outbox|redis|websocket|file|reconcile)_[a-z_]+\b/g)].map(([name]) => name))
    for (const name of [
      'outbox_pending',
      'outbox_oldest_age_ms',
      'redis_pubsub_gaps_total',
      'kafka_delivery_errors_total',
      'reconcile_parity_ratio',
    ])
      expect(names).toContain(name)
    for (const name of names) {
      // Those of the websocket source have a common beginning and end.
      const made = /^websocket_(\w+)_total$/.exec(name)?.[1]
      expect([name, source.includes(`'${made ?? name}'`)]).toEqual([name, true])
    }
  })

  test.skipIf(!hasPromtool())('alert rules fire when they should, and only then', () => {
    const cwd = join(root, 'deploy/prometheus')
    execFileSync('promtool', ['check', 'rules', 'alerts.yml'], { cwd })
    expect(execFileSync('promtool', ['test', 'rules', 'alerts.test.yml'], { cwd, encoding: 'utf8' })).toContain('SUCCESS')
  })
})
