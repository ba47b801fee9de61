/**
 * For the image: package.json without development packages, and with the optional ones, at the versions of package-lock.json.
 * `npm install` afterwards installs what the lock says. Changes package.json: run it in a copy.
 */
import { readFileSync, writeFileSync } from 'node:fs'

const manifest = JSON.parse(readFileSync('package.json', 'utf8'))
for (const name of Object.keys(manifest.peerDependencies)) manifest.dependencies[name] = manifest.devDependencies[name]
delete manifest.devDependencies
writeFileSync('package.json', JSON.stringify(manifest))
