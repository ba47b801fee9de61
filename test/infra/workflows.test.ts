import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'

interface Job {
  readonly uses?: string
  readonly permissions?: Record<string, string>
  readonly steps?: readonly { readonly uses?: string; readonly run?: string; readonly with?: Record<string, unknown> }[]
}
interface Workflow {
  readonly permissions: Record<string, string>
  readonly jobs: Record<string, Job>
}

const root = join(import.meta.dirname, '../..')
const folder = join(root, '.github/workflows')
const workflows = Object.fromEntries(readdirSync(folder).map(name => [name, parse(readFileSync(join(folder, name), 'utf8')) as Workflow]))
const scripts = Object.keys((JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object }).scripts)

test('every action is pinned to a commit, and checkouts do not persist a token', () => {
  for (const [name, { jobs }] of Object.entries(workflows))
    for (const step of Object.values(jobs).flatMap(job => job.steps ?? [])) {
      if (step.uses === undefined) continue
      expect(step.uses, name).toMatch(/^actions\/[a-z-]+@[0-9a-f]{40}$/)
      if (step.uses.startsWith('actions/checkout@')) expect(step.with, name).toMatchObject({ 'persist-credentials': false })
    }
})

test('a token has write permission only if the job writes', () => {
  const granted = Object.entries(workflows).flatMap(([name, { permissions, jobs }]) =>
    [['', permissions] as const, ...Object.entries(jobs).map(([job, { permissions }]) => [job, permissions ?? {}] as const)].flatMap(
      ([job, rights]) => Object.entries(rights).flatMap(([right, level]) => (level === 'write' ? [`${name} ${job}: ${right}`] : [])),
    ),
  )
  expect(granted).toEqual(['release.yml npm: id-token', 'release.yml github: contents'])
})

test('npm scripts that workflows run exist', () => {
  const runs = Object.values(workflows).flatMap(({ jobs }) =>
    Object.values(jobs).flatMap(job => job.steps?.flatMap(step => step.run ?? []) ?? []),
  )
  const used = runs.flatMap(run => [...run.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map(m => m[1]))
  expect(used.length).toBeGreaterThan(0)
  expect(scripts).toEqual(expect.arrayContaining(used))
})

test('a release is tested before it is published', () => {
  const { jobs } = workflows['release.yml']! as Workflow & { jobs: Record<string, { needs?: string }> }
  expect(jobs.test).toMatchObject({ uses: './.github/workflows/ci.yml' })
  expect(jobs.npm!.needs).toBe('test')
  expect(jobs.npm!.steps!.at(-1)!.run).toMatch(/^npm publish --provenance/)
})
