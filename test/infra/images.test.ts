/** Images by digest, with a Docker that answers for the registries. */
import { spawnSync } from 'node:child_process'
import { chmodSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tempDir } from '../support/runner.ts'

const script = join(import.meta.dirname, '../../scripts/images.js')
const digest = (c: string): string => `sha256:${c.repeat(64)}`
const FILES = {
  Dockerfile: 'ARG NODE_IMAGE=node:24-slim\nFROM ${NODE_IMAGE} AS build\nFROM node:24-slim-extra\n',
  'docker-compose.yml': 'services:\n  a:\n    image: redis:7.4-alpine\n  own:\n    image: pipeline-runner\n',
  '.github/workflows/ci.yml': 'jobs:\n  test:\n    container: debian:13\n',
}

test('the images of this repository have versions; the release requires digests', () => {
  const { status, stdout } = spawnSync(process.execPath, [script], { cwd: join(import.meta.dirname, '../..'), encoding: 'utf8' })
  expect([status, stdout]).toEqual([0, expect.stringMatching(/^images: \d+/)])
  const release = readFileSync(join(import.meta.dirname, '../../.github/workflows/release.yml'), 'utf8')
  expect(release).toContain('node scripts/images.js --pinned')
})

test('--pin writes the digests that Docker prints, once, and --pinned fails before', () => {
  const cwd = tempDir({
    ...FILES,
    'bin/docker': `#!/bin/sh\ncase "$4" in node:24-slim) echo ${digest('a')};; *) echo ${digest('b')};; esac\n`,
  })
  chmodSync(join(cwd, 'bin/docker'), 0o755)
  const run = (...args: string[]) => {
    const { status, stdout } = spawnSync(process.execPath, [script, ...args], {
      cwd,
      encoding: 'utf8',
      env: { ...process.env, PATH: `${join(cwd, 'bin')}:${process.env.PATH}` },
    })
    return [status, stdout.trim().split('\n').length, stdout] as const
  }
  expect(run('--pinned').slice(0, 2)).toEqual([1, 4])
  expect(run('--pin')[0]).toBe(0)
  expect(readFileSync(join(cwd, 'Dockerfile'), 'utf8')).toBe(
    `ARG NODE_IMAGE=node:24-slim@${digest('a')}\nFROM \${NODE_IMAGE} AS build\nFROM node:24-slim-extra@${digest('b')}\n`,
  )
  expect(readFileSync(join(cwd, 'docker-compose.yml'), 'utf8')).toContain(`image: redis:7.4-alpine@${digest('b')}\n`)
  expect(readFileSync(join(cwd, '.github/workflows/ci.yml'), 'utf8')).toContain(`container: debian:13@${digest('b')}\n`)
  expect(run('--pinned')).toEqual([0, 1, 'images: 4, all by digest\n'])
  // Again: the digest is looked up by the tag.
  expect(run('--pin')[0]).toBe(0)
  expect(run('--pinned')[0]).toBe(0)
})

test('an image without a version is rejected', () => {
  const cwd = tempDir({ Dockerfile: 'FROM node:latest\nFROM registry.example.com:5000/debian\n' })
  const { status, stdout } = spawnSync(process.execPath, [script], { cwd, encoding: 'utf8' })
  expect([status, stdout]).toEqual([
    1,
    'Dockerfile: node:latest has no version\nDockerfile: registry.example.com:5000/debian has no version\n',
  ])
})
