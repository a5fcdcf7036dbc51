/*
 * The disk of a process that makes a release and puts it together is left as a power cut would leave
 * it, at moments of a traced run. Whatever the moment: no chunk is had that is wrong, none is missing
 * once the release was made, the file with the release's name is all of it, and the next run ends
 * well. KITH_SWEEP=all takes every moment; KITH_SWEEP_SEED repeats a choice.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { systemClock } from '../../node/env.ts'
import { assemble, makeRelease } from '../../node/release/index.ts'
import { openBlobs, rawOf } from '../../node/storage/blobs.ts'
import type { OpenedIndex } from '../../protocols/update/index.ts'
import { seededRandom } from '../helpers/random.ts'
import { aboutRelease, never, noise } from '../helpers/release.ts'
import { needs } from '../helpers/tools.ts'
import { leaveTree, readTreeTrace, TREE_CALLS, type TreeTrace } from '../helpers/traced-tree.ts'

const SCRIPT = fileURLToPath(new URL('../helpers/releasing.ts', import.meta.url))
const CUTS = 20
const all = process.env['KITH_SWEEP'] === 'all'

describe('a process that makes a release', needs('strace'), () => {
  const seed = process.env['KITH_SWEEP_SEED'] ?? String(randomInt(2 ** 32))
  const random = seededRandom(seed)
  const bytes = noise('power', 400_000)
  let root = ''
  let trace: TreeTrace
  let release: OpenedIndex

  const below = (limit: number): number => {
    const [a = 0, b = 0, c = 0] = random.bytes(3)
    return (a * 65_536 + b * 256 + c) % limit
  }
  const storeIn = (dir: string) =>
    openBlobs({ folder: path.join(dir, 'chunks'), maxBytes: 1e9, clock: systemClock })

  async function assertWhole(dir: string, said: readonly string[], what: string): Promise<void> {
    const out = path.join(dir, 'release')
    const isWhole = existsSync(out)
    if (isWhole) assert.deepEqual(readFileSync(out), Buffer.from(bytes), what)
    assert.ok(isWhole || !said.includes('whole'), `${what}: the release is gone`)
    await using blobs = await storeIn(dir)
    for (const chunk of release.index.chunks) {
      const blob = await blobs.get(chunk.hash)
      if (blob !== undefined) rawOf(chunk, blob)
      else assert.ok(!said.includes('made'), `${what}: a chunk is gone`)
    }
    const file = path.join(root, 'input')
    const again = await makeRelease({ path: file, about: aboutRelease(1), blobs }, never)
    assert.deepEqual(again.release.id, release.id, what)
    await assemble(release, { blobs, sources: [], memoryBytes: 0 }, out, never)
    assert.deepEqual(readFileSync(out), Buffer.from(bytes), what)
  }

  before(async () => {
    root = realpathSync(mkdtempSync(path.join(tmpdir(), 'kith-release-power-')))
    const file = path.join(root, 'input')
    await writeFile(file, bytes)
    await using blobs = await storeIn(root)
    release = (await makeRelease({ path: file, about: aboutRelease(1), blobs }, never)).release
    const dir = path.join(root, 'run')
    mkdirSync(dir)
    const log = path.join(root, 'trace')
    const how = ['-f', '-xx', '-y', '-s', '300000', '-e', `trace=${TREE_CALLS}`, '-o', log]
    const { status, stdout, stderr } = spawnSync(
      'strace',
      [...how, process.execPath, SCRIPT, dir, file],
      // One thread for the disk: its calls come in the order of the code.
      { encoding: 'utf8', env: { ...process.env, UV_THREADPOOL_SIZE: '1' }, timeout: 60_000 },
    )
    assert.equal(status, 0, stderr)
    assert.equal(stdout, 'made\nwhole\n')
    trace = readTreeTrace(readFileSync(log, 'latin1'), dir)
  })
  after(() => rmSync(root, { recursive: true, force: true }))

  it('leaves nothing wrong and loses nothing that it said was done', async (t) => {
    const { events } = trace
    assert.ok(events.filter(({ kind }) => kind === 'sync').length > 10)
    const cuts = all
      ? events.map((_, i) => i + 1)
      : [...Array.from({ length: CUTS }, () => 1 + below(events.length)), events.length]
    t.diagnostic(`KITH_SWEEP_SEED=${seed}: ${cuts.length} cuts in ${events.length} events`)
    for (const cut of cuts) {
      const said = events
        .slice(0, cut)
        .flatMap((one) => (one.kind === 'said' ? [one.text.trim()] : []))
      for (const [kept, survives] of [
        ['nothing', () => false],
        ['half', () => below(2) === 0],
        ['all', () => true],
      ] as const) {
        const dir = path.join(root, 'cut')
        leaveTree(trace, cut, survives, dir)
        await assertWhole(dir, said, `cut ${cut}, ${kept} of the rest kept`)
        rmSync(dir, { recursive: true })
      }
    }
  })
})
