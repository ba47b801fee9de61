/** Changes of a YAML file that keep it YAML: typical user errors are a wrong key, type or position, not a wrong byte. */
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  type Node,
  Pair,
  parseDocument,
  Scalar,
  visit,
} from 'yaml'
import type { Random } from './random.ts'

/** Values of every kind, and those at the limits of each. */
const VALUES: readonly unknown[] = [
  null,
  true,
  '',
  'no',
  'x'.repeat(300),
  '${T:-a}',
  '${MISSING}',
  'a == 1',
  '1h',
  '30s30',
  '1MiB',
  '/x/{a}',
  '<a>',
  'http://u:p@h/{x}',
  'toString',
  0,
  -1,
  1.5,
  1e21,
  Number.NaN,
  Number.MAX_SAFE_INTEGER + 1,
  [],
  {},
  [[]],
  [{}],
  { a: { b: null } },
  ['a', 'a'],
]
const STYLES = [Scalar.PLAIN, Scalar.QUOTE_DOUBLE, Scalar.QUOTE_SINGLE, Scalar.BLOCK_LITERAL, Scalar.BLOCK_FOLDED] as const

/** One to three changes; undefined: the input is not YAML. */
export function restructureYaml(input: Buffer, other: Buffer, random: Random): Buffer | undefined {
  const document = parse(input)
  if (document === undefined) return undefined
  const keys = [...(nodesOf(parse(other)).keys ?? []), 'name', 'from', 'when', 'version', '__proto__', 'constructor', 'a.b', '']
  const donors = nodesOf(parse(other)).values
  for (let n = random.small(3); n > 0; n--) change(document, random, keys, donors)
  try {
    return Buffer.from(document.toString({ lineWidth: random.pick([0, 20, 80]) }))
  } catch {
    // An alias whose anchor is gone.
    return undefined
  }
}

function change(document: Document, random: Random, keys: readonly string[], donors: readonly Node[]): void {
  const { pairs, seqs, values } = nodesOf(document)
  const fresh = (): Node =>
    donors.length > 0 && random.chance(0.5) ? (random.pick(donors).clone() as Node) : document.createNode(random.pick(VALUES))
  const kind = random.below(8)
  if (kind === 0 && pairs.length > 0) random.pick(pairs).value = fresh()
  else if (kind === 1 && pairs.length > 0) random.pick(pairs).key = document.createNode(misspelled(random.pick(keys), random))
  else if (kind === 2 && values.some(isMap)) {
    const map = random.pick(values.filter(isMap))
    map.items.splice(random.below(map.items.length + 1), random.below(2), new Pair(document.createNode(random.pick(keys)), fresh()))
  } else if (kind === 3 && seqs.length > 0) {
    const seq = random.pick(seqs)
    seq.items.splice(random.below(seq.items.length + 1), random.below(2), fresh())
  } else if (kind === 4 && values.some(isScalar)) random.pick(values.filter(isScalar)).type = random.pick(STYLES)
  else if (kind === 5 && values.some(isCollection)) {
    const collection = random.pick(values.filter(isCollection))
    collection.flow = !collection.flow
  } else if (kind === 6 && pairs.length > 1) {
    const [a, b] = [random.pick(pairs), random.pick(pairs)]
    const value = a.value
    a.value = isNode(b.value) ? b.value.clone() : b.value
    b.value = value
  } else if (values.length > 0) {
    const node = random.pick(values)
    if (random.chance(0.5) && !isAlias(node)) node.tag = random.pick(['!!str', '!!int', '!!binary', '!x', '!!set'])
    else if (pairs.length > 0 && !isAlias(node)) random.pick(pairs).value = document.createAlias(node as Scalar, `a${random.below(3)}`)
  }
}

const misspelled = (key: string, random: Random): string =>
  random.chance(0.5) ? key : key.slice(0, random.below(key.length + 1)) + key.slice(random.below(key.length + 1))

function parse(input: Buffer): Document | undefined {
  const document = parseDocument(input.toString(), { uniqueKeys: false, logLevel: 'silent' })
  return document.errors.length > 0 || !isCollection(document.contents) ? undefined : document
}

function nodesOf(document: Document | undefined): { pairs: Pair[]; seqs: { items: unknown[] }[]; values: Node[]; keys: string[] } {
  const found: ReturnType<typeof nodesOf> = { pairs: [], seqs: [], values: [], keys: [] }
  if (document === undefined) return found
  visit(document, (place, node) => {
    if (isPair(node)) {
      found.pairs.push(node)
      if (isScalar(node.key) && typeof node.key.value === 'string') found.keys.push(node.key.value)
    } else if (isNode(node) && place !== 'key') {
      found.values.push(node)
      if (isSeq(node)) found.seqs.push(node)
    }
  })
  return found
}
