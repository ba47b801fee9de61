/** Certificates of a test's own, made by openssl in a directory of its own. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

const openssl = (dir: string, ...args: string[]): void => void execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' })

/** Makes `NAME.key` and `NAME.pem`: a CA that signs for two days. */
export function makeCa(dir: string, name = 'ca'): void {
  const files = ['-keyout', `${name}.key`, '-out', `${name}.pem`]
  openssl(dir, 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`, ...files)
}

/** Makes `NAME.key` and `NAME.pem`, signed by `makeCa`'s `ca`. @param extension e.g. `subjectAltName=IP:127.0.0.1`; days -1: expired */
export function makeCertificate(dir: string, name: string, extension: string, days = 2): void {
  writeFileSync(join(dir, `${name}.ext`), extension)
  openssl(dir, 'req', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
  const signing = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', String(days), '-extfile', `${name}.ext`]
  openssl(dir, 'x509', '-req', '-in', `${name}.csr`, ...signing, '-out', `${name}.pem`)
}

/** Makes `NAME.encrypted.key` of `NAME.key`. */
export function encryptKey(dir: string, name: string, password: string): void {
  openssl(dir, 'rsa', '-aes256', '-passout', `pass:${password}`, '-in', `${name}.key`, '-out', `${name}.encrypted.key`)
}
