import { inspect } from '/work/wt/lead/src/contract/json.ts'
import { isAscii } from 'node:buffer'
import { Dataset } from '/work/wt/lead/bench/lib/dataset.ts'
const big = []; for (const v of new Dataset(2000).lines()) big.push(Buffer.from(v))
const all = Buffer.concat(big); const recs = []; let at = 0; for (const b of big) recs.push(all.subarray(at, at += b.length))
const RUN = new Uint8Array(256); for (let c = 48; c < 58; c++) RUN[c] = 1; RUN[45] = RUN[46] = 1
const ANY = new Uint8Array(256); ANY.set(RUN); ANY[101] = ANY[69] = 1
const PRE = new Uint8Array(256); for (const c of [58, 44, 91, 32, 9, 10, 13]) PRE[c] = 1
function quick(p) {
  const n = p.length
  for (let i = 0; i < n; i += 2) {
    const c = p[i]
    if (c > 57) { if (c !== 101) continue; continue }
    if (c < 45) continue
    let start = i
    if (i > 0 && RUN[p[i - 1]] === 1) start--
    let point = 0, e = i
    for (; e < n; e++) { const d = p[e]; if (d > 57 || d < 48) { if (d !== 46) break; point = e } }
    i = e - 1
    if (start > 0 && PRE[p[start - 1]] === 0) continue
    if (e - start >= 16) return 2
    if (point !== 0 && p[e - 1] === 48) return 2
  }
  return 0
}
function quick1(p) {
  const n = p.length
  for (let i = 0; i < n; i++) {
    const c = p[i]
    if (c > 57 || c < 45) continue
    const start = i
    let point = 0
    for (; i < n; i++) { const d = p[i]; if (d > 57 || d < 48) { if (d !== 46) break; point = i } }
    if (start > 0 && PRE[p[start - 1]] === 0) continue
    if (i - start >= 16) return 2
    if (point !== 0 && p[i - 1] === 48) return 2
  }
  return 0
}
let x = 0
const S = { inspect: b => inspect(b, 256), quick, quick1, isAscii: b => isAscii(b) ? 1 : 0, latin1: b => b.latin1Slice(0, b.length).length, utf8: b => b.utf8Slice(0, b.length).length, utf8inc: b => { const t = b.utf8Slice(0, b.length); return t.length === b.length && !t.includes('\ufffd') ? 1 : 0 }, toStringL: b => b.toString('latin1').length, ascii: b => b.asciiSlice(0, b.length).length }
const best = {}
for (let r = 0; r < 1500; r++) for (const [k, f] of Object.entries(S)) { const s = process.hrtime.bigint(); for (const b of recs) x += f(b); const d = Number(process.hrtime.bigint() - s) / recs.length; best[k] = Math.min(best[k] ?? 1e9, d) }
console.log(Object.entries(best).map(([k, v]) => k + ' ' + v.toFixed(1)).join('  '), x)
