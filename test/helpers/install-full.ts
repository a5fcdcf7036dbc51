/**
 * Installs on a small file system of its own, filled up at every step: `install-full.ts DIR`. Says
 * how often it was refused and how often not; ends with an error where the old version is not whole.
 */
import assert from 'node:assert/strict'
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

import { InstallError, type Outcome } from '../../node/services/install/index.ts'
import { installsIn, listing, listingOf, NEVER, releaseOf, writeTree } from './installs.ts'

const dir = process.argv[2] ?? ''
const small = join(dir, 'installs')
const filler = join(dir, 'filler')
const counts = { refused: 0, installed: 0, back: 0 }
let build = 2
let now = '1.0'

function fillUpTo(leftBytes: number): void {
  const { bavail, bsize } = statfsSync(dir)
  const fd = openSync(filler, 'w')
  const block = Buffer.alloc(bsize, 1)
  for (let free = bavail * bsize; free > leftBytes; free -= bsize) {
    try {
      writeSync(fd, block)
    } catch {
      break
    }
  }
  closeSync(fd)
}

/** The step fills the disk before it begins; what ran before still runs where it is refused. */
async function attempt(leftBytes: number, at: 'stage' | 'switch' | 'trial'): Promise<void> {
  const version = `${build}.0`
  const archive = join(dir, 'archive')
  writeTree(archive, version)
  const installs = installsIn(small, {
    reading() {
      if (at === 'trial') fillUpTo(leftBytes)
      return { value: 20, ageMs: 0 }
    },
  })
  const health = { seconds: 1, withinSeconds: 2, reading: { sensor: 'cpu' } }
  const release = releaseOf(version, build++, at === 'trial' ? { health } : {})
  let outcome: Outcome | undefined
  try {
    if (at === 'stage') fillUpTo(leftBytes)
    await installs.stage(release, archive, NEVER)
    if (at === 'switch') fillUpTo(leftBytes)
    outcome = await installs.switch('app', NEVER)
  } catch (error) {
    assert.ok(error instanceof InstallError && error.code === 'INSTALL_NO_SPACE', String(error))
    counts.refused++
  }
  if (outcome?.what === 'installed') {
    counts.installed++
    now = version
  } else if (outcome !== undefined) counts.back++
  assert.equal(readFileSync(join(small, 'app/current/VERSION'), 'utf8'), now)
  assert.deepEqual(listing(join(small, 'app/current')), listingOf(now))
  assert.equal(existsSync(join(small, 'app/staging')), false, 'staging is empty')
  rmSync(filler, { force: true })
  await installs.resume('app', NEVER)
  assert.equal(readFileSync(join(small, 'app/current/VERSION'), 'utf8'), now)
  const { trial, installed, previous } = await installs.state('app')
  assert.equal(trial, undefined)
  assert.equal(installed?.version, now)
  assert.equal(readdirSync(join(small, 'app/versions')).length, previous === undefined ? 1 : 2)
}

writeFileSync(join(dir, 'room'), Buffer.alloc(2 ** 20))
const first = installsIn(small)
await first.stage(releaseOf('1.0', 1), writeTree(join(dir, 'archive'), '1.0'), NEVER)
await first.switch('app', NEVER)
for (const at of ['stage', 'switch', 'trial'] as const) {
  const most = at === 'stage' ? 1_400_000 : 24_576
  for (let left = 0; left <= most; left += Math.ceil(most / 5)) await attempt(left, at)
}
process.stdout.write(JSON.stringify(counts))
