/**
 * What making a release costs: memory that must not grow with it, and time. Each size is a process of
 * its own, in the published form: the sources take 30 MB to be read. A quarter of the input packs, some
 * of it is holes, the rest is noise.
 */
import { execFileSync } from 'node:child_process'
import { createCipheriv } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'

import { aboutRelease } from '../helpers/release.ts'
import { atMost, row, type Result } from './figures.ts'

const BUILT = new URL('../../dist/node/release.js', import.meta.url)
const MIB = 1024 * 1024
const SIZES_MIB = [64, 256, 1_024]
const GOAL_MB = 200

/** Makes one release, and says what it took. `resourceUsage` counts what started the process, too. */
const SIDE = `
import { readFileSync } from 'node:fs'
import { publishInto } from '${BUILT.href}'
const [, path, folder] = process.argv
const begun = performance.now()
const about = ${JSON.stringify(aboutRelease(1))}
await publishInto({ path, folder, about, maxBytes: 2 ** 34 }, new AbortController().signal)
const { userCPUTime, systemCPUTime } = process.resourceUsage()
const [, kib] = /^VmHWM:\\s+(\\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))
console.log(JSON.stringify({
  peakMb: (Number(kib) * 1024) / 1e6,
  cpuS: (userCPUTime + systemCPUTime) / 1e6,
  wallS: (performance.now() - begun) / 1_000,
}))`

interface Cost {
  readonly peakMb: number
  readonly cpuS: number
  readonly wallS: number
}

export async function benchPublish(root: string): Promise<Result> {
  const costs: Cost[] = []
  for (const size of SIZES_MIB) {
    const [file, store] = [path.join(root, 'release'), path.join(root, 'release-store')]
    await fill(file, size)
    const said = execFileSync(
      process.execPath,
      ['--input-type=module', '--eval', SIDE, file, store],
      { encoding: 'utf8' },
    )
    costs.push(JSON.parse(said) as Cost)
    await rm(file, { force: true })
    await rm(store, { recursive: true, force: true })
  }
  const rows = costs.flatMap(({ peakMb, cpuS, wallS }, i) => [
    row(`${SIZES_MIB[i]} MiB: most memory`, 'MB', [peakMb]),
    row(`${SIZES_MIB[i]} MiB: processor`, 's', [cpuS]),
    row(`${SIZES_MIB[i]} MiB: time`, 's', [wallS]),
  ])
  const [first = Number.NaN, ...more] = costs.map(({ peakMb }) => peakMb)
  const last = more.at(-1) ?? Number.POSITIVE_INFINITY
  rows.push(row('1 GiB / 64 MiB: most memory', '×', [last / first]))
  return {
    name: 'publish',
    about: 'releases of one file, cut, hashed, packed and stored',
    rows,
    goals: [atMost(`1 GiB in ${GOAL_MB} MB`, [last], GOAL_MB)],
  }
}

/** The same bytes every time. */
async function fill(file: string, sizeMib: number): Promise<void> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 'k'), Buffer.alloc(16))
  await using handle = await open(file, 'w')
  for (let i = 0; i < sizeMib; i++) {
    const noise = cipher.update(Buffer.alloc(MIB))
    const kind = i % 16
    if (kind === 3) continue
    const piece = kind % 4 === 1 ? Buffer.from(noise.toString('hex', 0, MIB / 2)) : noise
    await handle.write(piece, 0, piece.length, i * MIB)
  }
  await handle.truncate(sizeMib * MIB)
}
