/** JUnit XML for CI systems: a suite per file, a case per test. */
import type { FileResult } from './engine.ts'
import { failureText, plain } from './report.ts'
import type { TestResult } from './run.ts'
import { escapeXml as escape } from './xml.ts'

export function junit(files: readonly FileResult[]): string {
  const tests = sum(files, f => f.results.length + (f.problems.length > 0 ? 1 : 0))
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="runner test" tests="${tests}" failures="${sum(files, failed)}" errors="${sum(files, errors)}" time="${seconds(sum(files, time))}">`,
    ...files.flatMap(suite),
    '</testsuites>',
  ]
  return `${lines.join('\n')}\n`
}

function suite(file: FileResult): string[] {
  const head = `name="${escape(file.file)}" file="${escape(file.file)}" tests="${file.results.length + errors(file)}" failures="${failed(file)}" errors="${errors(file)}" skipped="0" time="${seconds(time(file))}"`
  return [`  <testsuite ${head}>`, ...broken(file), ...file.results.flatMap(r => testCase(file, r)), '  </testsuite>']
}

/** A file that could not be run is one case with its problems. */
function broken(file: FileResult): string[] {
  if (file.problems.length === 0) return []
  const text = file.problems.map(p => `${p.file}:${p.line}:${p.column} ${p.code} ${p.message}`).join('\n')
  const [first] = file.problems
  return [
    `    <testcase classname="${escape(file.file)}" name="${escape(file.file)}" time="0">`,
    `      <error type="${escape(first.code)}" message="${escape(first.message)}">${escape(text)}</error>`,
    '    </testcase>',
  ]
}

function testCase(file: FileResult, { test, failures, seconds: took }: TestResult): string[] {
  const open = `    <testcase classname="${escape(file.file)}" name="${escape(test.name)}" file="${escape(file.file)}" line="${test.at.line}" time="${seconds(took)}"`
  if (failures.length === 0) return [`${open}/>`]
  const text = failures.map(f => failureText(f, plain)).join('\n')
  const [first] = failures
  const message = `${first.what} at ${first.at.file}:${first.at.line}:${first.at.column}`
  return [`${open}>`, `      <failure type="${first.kind}" message="${escape(message)}">${escape(text)}</failure>`, '    </testcase>']
}

const sum = (files: readonly FileResult[], of: (file: FileResult) => number): number => files.reduce((n, f) => n + of(f), 0)
const failed = (file: FileResult): number => file.results.filter(r => r.failures.length > 0).length
const errors = (file: FileResult): number => (file.problems.length > 0 ? 1 : 0)
const time = (file: FileResult): number => file.results.reduce((n, r) => n + r.seconds, 0)
const seconds = (n: number): string => n.toFixed(3)
