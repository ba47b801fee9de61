/**
 * The generated function during generation: its statements and the facts that their checks prove. If a check fails, the function
 * returns `B`, and the interpreter evaluates the record.
 */

/**
 * The type of a value at generation time. `num` is a double and `int` a CEL integer; both are JS numbers here, and an integer
 * is always safe. `dyn` is any value of a record and always a variable; `out` may be an integer or a `dyn`, so only an output
 * may use it. `strs`: a list of strings.
 */
export type Kind = 'num' | 'int' | 'str' | 'bool' | 'null' | 'dyn' | 'out' | 'strs'

export interface Atom {
  /** A JS expression without side effects. */
  readonly js: string
  readonly kind: Kind
}

/** Thrown for expressions that only the interpreter evaluates. */
export const UNSUPPORTED = new Error('not generated')

interface Scope {
  /** The proven type of a `dyn` variable. */
  readonly kinds: Map<string, Kind>
  /** Variables that are known to be records (`JSON.parse` objects). */
  readonly records: Set<string>
  /** Variables that are known not to be undefined. */
  readonly present: Set<string>
  /** `variable.field` -> the variable that holds it. */
  readonly fields: Map<string, string>
  /** Variable -> the variable with its number as a double. */
  readonly numbers: Map<string, string>
}

const emptyScope = (): Scope => ({ kinds: new Map(), records: new Set(), present: new Set(), fields: new Map(), numbers: new Map() })
const copyOf = (scope: Scope): Scope => ({
  kinds: new Map(scope.kinds),
  records: new Set(scope.records),
  present: new Set(scope.present),
  fields: new Map(scope.fields),
  numbers: new Map(scope.numbers),
})

const TYPEOF: Partial<Record<Kind, string>> = { num: 'number', str: 'string', bool: 'boolean' }

export class Code {
  private lines: string[] = []
  private scope = emptyScope()
  private count = 0
  /** Field of the record -> variable, loaded at the top. */
  private readonly loads = new Map<string, string>()
  /** Values the code refers to as `k[i]`. */
  readonly constants: unknown[] = []
  private needsRecord = false

  line(text: string): void {
    this.lines.push(text)
  }

  /** Leaves the record to the interpreter if the JS condition is true. */
  bailIf(condition: string): void {
    this.line(`if (${condition}) return B`)
  }

  fresh(): string {
    return `t${this.count++}`
  }

  /** A variable with the value of a JS expression. */
  store(js: string): string {
    const name = this.fresh()
    this.line(`const ${name} = ${js}`)
    return name
  }

  constant(value: unknown): string {
    return `k[${this.constants.push(value) - 1}]`
  }

  /** Runs `emit` as a branch: returns its statements and discards the facts that they prove. */
  branch<T>(emit: () => T): { statements: string[]; result: T } {
    const { lines, scope } = this
    this.lines = []
    this.scope = copyOf(scope)
    try {
      const result = emit()
      return { statements: this.lines, result }
    } finally {
      this.lines = lines
      this.scope = scope
    }
  }

  /** Runs `emit`; if it is unsupported, its statements are removed and the result is undefined. */
  attempt<T>(emit: () => T): T | undefined {
    const { lines, scope } = this
    this.lines = [...lines]
    this.scope = copyOf(scope)
    try {
      return emit()
    } catch (error) {
      if (error !== UNSUPPORTED) throw error
      this.lines = lines
      this.scope = scope
      return undefined
    }
  }

  kindOf(atom: Atom): Kind {
    return atom.kind === 'dyn' ? (this.scope.kinds.get(atom.js) ?? 'dyn') : atom.kind
  }

  /** The JS of the atom, proven to be of this kind. */
  need(atom: Atom, kind: 'num' | 'str' | 'bool'): string {
    const known = this.kindOf(atom)
    if (known === kind) return atom.js
    if (known !== 'dyn') throw UNSUPPORTED
    if (kind === 'num') return this.double(atom.js)
    this.bailIf(`typeof ${atom.js} !== '${TYPEOF[kind]}'`)
    this.scope.kinds.set(atom.js, kind)
    return atom.js
  }

  /** The variable with a number of the record as a double with the exact value. */
  private double(x: string): string {
    let n = this.scope.numbers.get(x)
    if (n === undefined) {
      n = this.store(`typeof ${x} === 'number' ? ${x} : plainOf(${x})`)
      // Only NaN is not equal to itself.
      this.bailIf(`${n} !== ${n}`)
      this.scope.numbers.set(x, n)
    }
    return n
  }

  /** A `dyn` as a primitive if it is a number that a double represents; other values are unchanged. */
  light(atom: Atom): string {
    return this.scope.numbers.get(atom.js) ?? this.store(`typeof ${atom.js} === 'object' ? lightOf(${atom.js}) : ${atom.js}`)
  }

  /** An integer or a double. */
  numeric(atom: Atom): string {
    return atom.kind === 'int' ? atom.js : this.need(atom, 'num')
  }

  /** A `dyn` that is a number, string or boolean; with `orNull`, also null. */
  primitive(atom: Atom, orNull: boolean): string {
    if (this.kindOf(atom) !== 'dyn') return atom.js
    const x = this.light(atom)
    this.bailIf(`typeof ${x} !== 'number' && typeof ${x} !== 'string' && typeof ${x} !== 'boolean'${orNull ? ` && ${x} !== null` : ''}`)
    return x
  }

  /** The value of a top-level field. Its presence is checked on use: `false && missing` is false. */
  load(name: string): string {
    this.needsRecord = true
    let variable = this.loads.get(name)
    if (variable === undefined) this.loads.set(name, (variable = `f${this.loads.size}`))
    return variable
  }

  /** The whole value, known to be a record. */
  record(): string {
    this.needsRecord = true
    return 'r'
  }

  /** A value that is not undefined. */
  here(variable: string): Atom {
    if (!this.scope.present.has(variable) && !this.scope.kinds.has(variable)) {
      this.bailIf(`${variable} === undefined`)
      this.scope.present.add(variable)
    }
    return { js: variable, kind: 'dyn' }
  }

  /** The variable with a field of a value, which must be a record. The field may be undefined. */
  fieldOf(owner: Atom, name: string): string {
    const x = owner.js
    const known = this.kindOf(owner)
    if (known !== 'dyn') throw UNSUPPORTED
    if (x === 'r') this.needsRecord = true
    else if (!this.scope.records.has(x)) {
      this.bailIf(`typeof ${x} !== 'object' || ${x} === null || prototypeOf(${x}) !== OBJECT`)
      this.scope.records.add(x)
    }
    const path = `${x}.${name}`
    let variable = this.scope.fields.get(path)
    if (variable === undefined) this.scope.fields.set(path, (variable = this.store(read(x, name))))
    return variable
  }

  /** The body of `function (r, m)`: `end` is its last statement. */
  body(end: string): string {
    const top: string[] = []
    // Values of other classes have getters and inherited fields, which only the interpreter supports.
    if (this.needsRecord) top.push(`if (typeof r !== 'object' || r === null || prototypeOf(r) !== OBJECT) return B`)
    for (const [name, variable] of this.loads) top.push(`const ${variable} = ${read('r', name)}`)
    return [...top, ...this.lines, end].join('\n')
  }
}

/** Reads an own field. Names that every object inherits need hasOwn. */
const read = (owner: string, name: string): string => {
  const access = `${owner}[${JSON.stringify(name)}]`
  return name in Object.prototype ? `(hasOwn(${owner}, ${JSON.stringify(name)}) ? ${access} : undefined)` : access
}
