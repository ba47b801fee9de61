/**
 * The images in the Dockerfile, the Compose files and the workflows. A tag may be given to another image, a digest cannot.
 *
 * node scripts/images.js            fails if an image has no version (`npm run lint`)
 * node scripts/images.js --pinned   fails if an image has no digest (the release)
 * node scripts/images.js --pin      asks the registries for the digests, with Docker, and writes them into the files
 */
import { execFileSync } from 'node:child_process'
import { globSync, readFileSync, writeFileSync } from 'node:fs'

/** Built from the Dockerfile. */
const OWN = 'pipeline-runner'
const PLACES = [
  ['Dockerfile', /^(?:ARG NODE_IMAGE=|FROM )([^\s$]+)/gm],
  ['docker-compose*.yml', /^\s+image: +(\S+)/gm],
  ['.github/workflows/*.yml', /^\s+(?:container|image): +(\S+)/gm],
]

const found = PLACES.flatMap(([pattern, line]) =>
  globSync(pattern).flatMap(file =>
    [...readFileSync(file, 'utf8').matchAll(line)].map(([, image]) => ({ file: file.replaceAll('\\', '/'), image })),
  ),
).filter(({ image }) => image !== OWN)

const isPinned = image => /@sha256:[0-9a-f]{64}$/.test(image)
const hasVersion = image => /:[^/:@]*\d[^/:@]*(@|$)/.test(image)

if (process.argv.includes('--pin')) {
  for (const image of new Set(found.map(f => f.image))) {
    const name = image.replace(/@.*/, '')
    const args = ['buildx', 'imagetools', 'inspect', name, '--format', '{{.Manifest.Digest}}']
    const digest = execFileSync('docker', args, { encoding: 'utf8' }).trim()
    if (!isPinned(`${name}@${digest}`)) throw new Error(`docker printed no digest of ${name}: ${digest}`)
    for (const { file } of found.filter(f => f.image === image)) {
      const text = readFileSync(file, 'utf8')
      // As a whole word: the name of one image may be the beginning of another.
      writeFileSync(
        file,
        text.replaceAll(/[^\s=]+/g, word => (word === image ? `${name}@${digest}` : word)),
      )
    }
    console.log(`${name}@${digest}`)
  }
} else {
  const needsDigest = process.argv.includes('--pinned')
  const wrong = found.filter(({ image }) => !(needsDigest ? isPinned(image) : isPinned(image) || hasVersion(image)))
  for (const { file, image } of wrong)
    console.log(
      `${file}: ${image} ${needsDigest ? 'has no digest: run node scripts/images.js --pin, and commit the change' : 'has no version'}`,
    )
  const left = found.filter(({ image }) => !isPinned(image)).length
  if (wrong.length === 0)
    console.log(`images: ${found.length}${left === 0 ? ', all by digest' : `, ${left} by tag; the release requires digests`}`)
  process.exitCode = wrong.length === 0 ? 0 : 1
}
