/** Results of one-shot pipelines (`Context.report`): a table for people, JSON or JUnit XML for programs. */
import { writeFileSync } from 'node:fs'
import { EnvironmentError, type Report } from '../contract/plugin.ts'
import type { StepReport } from '../engine/launch.ts'
import { grouped } from '../kit/text/grouped.ts'
import { escapeXml } from '../testing/xml.ts'
import { mark, paint } from './output.ts'
import { table } from './table.ts'
import { reasonOf } from '../kit/system-error.ts'

/** Maximum rows of a table: the rest is counted, and the JSON has all rows. */
const MAX_ROWS = 50

export function formatReports(reports: readonly StepReport[], json: boolean): string {
  if (json) return `${JSON.stringify({ ok: reports.every(r => r.ok), reports }, null, 2)}\n`
  return reports
    .map(({ pipeline, title, ok, verdict, summary, findings }) => {
      const parts = [paint('bold', `${pipeline}: ${title}`), '']
      const width = Math.max(...Object.keys(summary).map(k => k.length))
      for (const [name, value] of Object.entries(summary)) parts.push(`  ${name.padEnd(width)}  ${value}`)
      if (findings.length > 0) {
        const columns = [...new Set(findings.flatMap(f => Object.keys(f.details ?? {})))]
        const rows = findings.slice(0, MAX_ROWS).map(f => [f.subject, f.problem, ...columns.map(c => shown(f.details?.[c]))])
        parts.push('', table([{ head: 'SUBJECT' }, { head: 'PROBLEM' }, ...columns.map(c => ({ head: c.toUpperCase() }))], rows).trimEnd())
        if (findings.length > MAX_ROWS) parts.push(`… and ${grouped(findings.length - MAX_ROWS)} more; --json has them all`)
      }
      parts.push('', `${mark(ok ? 'ok' : 'failed')}  ${verdict}`)
      return `${parts.join('\n')}\n`
    })
    .join('\n')
}

const shown = (value: unknown): string =>
  value === undefined ? '' : value === null ? '-' : typeof value === 'string' ? value : JSON.stringify(value)

/** One suite per report, one case per finding, and one for the verdict. @throws {EnvironmentError} when the file cannot be written. */
export function writeJunit(path: string, reports: readonly StepReport[]): void {
  const suites = reports.map(({ pipeline, step, title, ok, verdict, findings }) => {
    const name = escapeXml(`${pipeline}.${step}`)
    const cases = findings.map(
      f =>
        `    <testcase classname="${name}" name="${escapeXml(`${f.subject} ${f.problem}`)}">${ok ? `<system-out>${text(f)}</system-out>` : `<failure message="${escapeXml(f.problem)}">${text(f)}</failure>`}</testcase>`,
    )
    const whole = `    <testcase classname="${name}" name="${escapeXml(title)}">${ok ? '' : `<failure message="${escapeXml(verdict)}"/>`}</testcase>`
    const failures = ok ? 0 : cases.length + 1
    return [
      `  <testsuite name="${name}" tests="${cases.length + 1}" failures="${failures}" errors="0" skipped="0">`,
      whole,
      ...cases,
      '  </testsuite>',
    ]
  })
  const xml = ['<?xml version="1.0" encoding="UTF-8"?>', '<testsuites>', ...suites.flat(), '</testsuites>', ''].join('\n')
  try {
    writeFileSync(path, xml)
  } catch (error) {
    throw new EnvironmentError(`cannot write the JUnit report ${path}: ${reasonOf(error)}`, error)
  }
}

const text = (f: Report['findings'][number]): string => escapeXml(JSON.stringify({ subject: f.subject, problem: f.problem, ...f.details }))
