import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../contenders/build.ts'
import { type OutboxResults, outboxPlot } from '../outbox/report.ts'
import { page } from './page.ts'
import { plot } from './plot.ts'
import type { Results, SoakResults } from './results.ts'
import { tasks } from './table.ts'

const latest = join(root, 'bench/results/latest.json')
const soaked = join(root, 'bench/results/soak.json')
const outboxed = join(root, 'bench/results/outbox.json')

export function saveResults(results: Results): void {
  write(latest, json(results))
  for (const task of tasks(results)) write(join(root, 'docs/bench', `${task}.svg`), plot(results, task))
  writePage(results)
}

export function saveSoak(soak: SoakResults): void {
  write(soaked, json(soak))
  const results = read<Results>(latest)
  if (results !== undefined) writePage(results, soak)
}

export function saveOutbox(outbox: OutboxResults): void {
  write(outboxed, json(outbox))
  write(join(root, 'docs/bench/outbox.svg'), outboxPlot(outbox))
  const results = read<Results>(latest)
  if (results !== undefined) writePage(results)
}

function writePage(results: Results, soak = read<SoakResults>(soaked)): void {
  write(join(root, 'docs/benchmarks.md'), page(results, soak, read<OutboxResults>(outboxed)))
}

function write(path: string, text: string): void {
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, text)
}

function read<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T
  } catch {
    return undefined
  }
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`
