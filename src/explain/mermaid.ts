/** The graph of a pipeline as Mermaid text, and as SVG. */
import type { Guarantee } from '../contract/plugin.ts'
import { needsPackage } from '../kit/optional-package.ts'
import type { Explanation } from './describe.ts'
import type { Edge, StepInfo } from './outline.ts'

const COLORS: Record<Guarantee, string> = {
  exactly_once: '#16a34a',
  effectively_once: '#0d9488',
  at_least_once: '#d97706',
  at_most_once: '#dc2626',
}
const LONGEST = 38

export function toMermaid(e: Explanation): string {
  const ids = new Map(e.steps.map((s, i) => [s.name, `n${i}`]))
  const id = (name: string): string => ids.get(name)!
  const of = (kind: StepInfo['kind']): StepInfo[] => e.steps.filter(s => s.kind === kind)
  const transforms = of('transform')
  const edges = e.edges.map(edge => (edge.dead && transforms.length > 0 ? { ...edge, from: '' } : edge))
  const lines = [
    'flowchart LR',
    ...of('source').map(s => `  ${id(s.name)}${store(s)}`),
    ...(transforms.length > 0
      ? [`  subgraph lane["${text(e.name)}"]`, '    direction LR', ...transforms.map(s => `    ${id(s.name)}["${label(s)}"]`), '  end']
      : []),
    ...[...of('sink'), ...of('dlq')].map(s => `  ${id(s.name)}${store(s)}`),
    ...edges.map(edge => `  ${edge.from === '' ? 'lane' : id(edge.from)} ${arrow(edge)} ${id(edge.to)}`),
    ...e.edges.flatMap((edge, i) => (edge.guarantee ? [`  linkStyle ${i} stroke:${COLORS[edge.guarantee]},stroke-width:2px`] : [])),
    '  classDef source fill:#e0f2fe,stroke:#0284c7,color:#0c4a6e',
    '  classDef step fill:#ffffff,stroke:#94a3b8,color:#1e293b',
    '  classDef sink fill:#dcfce7,stroke:#16a34a,color:#14532d',
    '  classDef dlq fill:#fee2e2,stroke:#dc2626,color:#7f1d1d',
    ...(['source', 'transform', 'sink', 'dlq'] as const).flatMap(kind => {
      const names = of(kind).map(s => id(s.name))
      return names.length > 0 ? [`  class ${names.join(',')} ${kind === 'transform' ? 'step' : kind}`] : []
    }),
  ]
  return `${lines.join('\n')}\n`
}

export async function toSvg(e: Explanation): Promise<string> {
  const { renderMermaidSVG } = await import('beautiful-mermaid').catch(needsPackage('beautiful-mermaid', 'explain --format svg'))
  const svg = renderMermaidSVG(toMermaid(e), {
    bg: '#ffffff',
    fg: '#1e293b',
    line: '#64748b',
    accent: '#334155',
    muted: '#475569',
    font: 'Inter',
    padding: 24,
  })
  // The SVG imports a font from the web; it must be viewable offline.
  return `${svg.replace(/\s*@import url\([^)]*\);/, '')}\n`
}

const store = (step: StepInfo): string => `[("${label(step)}")]`

function label({ name, type, headline, when, stateful, through }: StepInfo): string {
  const title = name === type || name.startsWith(`${type}_`) ? name : `${name} (${type})`
  return [
    title,
    headline,
    ...(when === undefined ? [] : [`when ${when}`]),
    ...(through !== undefined ? [`through ${through}`] : stateful ? ['has state'] : []),
  ]
    .filter(l => l !== '')
    .map(text)
    .join('<br/>')
}

function arrow({ guarantee, port, dead }: Edge): string {
  const words = [port, guarantee?.replaceAll('_', ' ')].filter(w => w !== undefined)
  return `${dead ? '-.->' : '-->'}${words.length > 0 ? `|"${text(words.join(', '))}"|` : ''}`
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

function text(raw: string): string {
  const line = raw.replaceAll(/\s+/g, ' ').trim()
  return (line.length > LONGEST ? `${line.slice(0, LONGEST - 1)}…` : line).replaceAll(/[&<>"]/g, c => ENTITIES[c])
}
