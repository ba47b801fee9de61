/** The text of a test file and positions in it. */
import type { Location } from '../config/model.ts'
import {
  find,
  type MapNode,
  type Path,
  type SeqNode,
  type Span,
  type SourceText,
  type TreeNode,
  toExactValue,
  toValue,
  valueSpan,
} from '../config/tree.ts'

export class TestSource {
  readonly file: string
  readonly root: TreeNode | undefined
  /** Base folder of relative paths. */
  readonly base: string
  private readonly text: SourceText

  constructor(text: SourceText, root: TreeNode | undefined, base: string) {
    this.file = text.file
    this.text = text
    this.root = root
    this.base = base
  }

  /** The value at a path; undefined if missing. */
  node(path: Path): TreeNode | undefined {
    const found = this.root && find(this.root, path)
    return found && !found.partial ? found.node : undefined
  }

  /** The value at a path as plain JSON. */
  value(path: Path): unknown {
    const node = this.node(path)
    return node && toValue(node)
  }

  /** As `value`, with exact numbers. */
  exact(path: Path): unknown {
    const node = this.node(path)
    return node && toExactValue(node)
  }

  /** For positions where the schema allows only a map. */
  map(path: Path): MapNode | undefined {
    return this.node(path) as MapNode | undefined
  }

  /** Paths of the items, for positions where the schema allows only a list. */
  items(path: Path): Path[] {
    const node = this.node(path) as SeqNode | undefined
    return (node?.items ?? []).map((_, i) => [...path, i])
  }

  span(path: Path, on: 'key' | 'value' = 'value'): Span {
    if (!this.root) return { source: this.text, start: 0, end: 0 }
    const found = find(this.root, path)
    return on === 'key' && found.key ? found.key : valueSpan(found)
  }

  at(path: Path, on: 'key' | 'value' = 'value'): Location {
    const { start } = this.span(path, on)
    return { file: this.file, ...this.text.position(start) }
  }
}
