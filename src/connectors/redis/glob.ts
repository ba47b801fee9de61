/** Redis's glob: `*`, `?`, `[a-c]`, `[^a]`, and a backslash before what is meant as it stands. */
export function glob(pattern: string): RegExp {
  let source = ''
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]
    if (c === '*') source += '.*'
    else if (c === '?') source += '.'
    else if (c === '\\' && i + 1 < pattern.length) source += escape(pattern[++i])
    else if (c === '[' && pattern.indexOf(']', i + 2) !== -1) {
      const end = pattern.indexOf(']', i + 2)
      const inside = pattern.slice(i + 1, end)
      source += `[${inside.startsWith('^') ? '^' : ''}${inside.replace(/^\^/, '').replace(/[\\\]^]/g, '\\$&')}]`
      i = end
    } else source += escape(c)
  }
  return new RegExp(`^${source}$`, 's')
}

const escape = (c: string): string => c.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
