import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { openBlobs } from '../../node/storage/blobs.ts'
import { noiseOf } from '../helpers/blobs.ts'
import { needs } from '../helpers/tools.ts'

const helper = (name: string): string =>
  fileURLToPath(new URL(`../helpers/${name}.ts`, import.meta.url))
const SEEDS = ['a', 'b', 'c', 'd', 'e']

/** Run the crash helper to its end at one call. The lines that it said. */
function crashAt(folder: string, call: number): { lines: string[]; killed: boolean } {
  const args = [helper('blob-crash'), folder, String(call)]
  const { stdout, stderr, signal, status } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.ok(signal === 'SIGKILL' || status === 0, stderr)
  return { lines: stdout.trim().split('\n'), killed: signal === 'SIGKILL' }
}

/** What must be there, and what may, after these words. */
function expected(lines: readonly string[]): Set<string> {
  const there = new Set<string>()
  for (const [word, seed = ''] of lines.map((line) => line.split(' '))) {
    if (word === 'put') there.add(seed)
    if (word === 'less') there.delete(seed)
  }
  return there
}

async function assertSound(folder: string, lines: readonly string[]): Promise<void> {
  await using store = await openBlobs({ folder, maxBytes: 3_500, clock: { now: () => 0 } })
  let bytes = 0
  for (const seed of SEEDS) {
    const { chunk, raw } = noiseOf(seed)
    const blob = await store.get(chunk.hash)
    if (expected(lines).has(seed)) assert.ok(blob !== undefined, `${seed} after ${lines.at(-1)}`)
    if (blob === undefined) continue
    assert.deepEqual(Buffer.from(blob.bytes), Buffer.from(raw))
    bytes += raw.length
  }
  assert.equal(store.usage().bytes, bytes)
  if (lines.includes('pin') && !lines.includes('unpin')) assert.equal(store.pins().length, 1)
  assert.deepEqual(readdirSync(join(folder, 'tmp')), [])
}

describe('the end of a process at any call of the file system', () => {
  it('takes nothing that was put, leaves nothing half, and the next one goes on', async (t) => {
    let call = 0
    for (let killed = true; killed; call++) {
      const folder = mkdtempSync(join(tmpdir(), 'kith-blob-crash-'))
      try {
        const first = crashAt(folder, call)
        killed = first.killed
        await assertSound(folder, first.lines)
        if (call % 5 === 0) {
          const again = crashAt(folder, Infinity)
          assert.equal(again.killed, false)
          await assertSound(folder, again.lines)
        }
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    }
    t.diagnostic(`${call - 1} places`)
    assert.ok(call > 30)
  })
})

/** Mounts a small file system over the folder, for this process alone. */
const IN_SMALL_SPACE = `mount -t tmpfs -o size=16m,mode=700 none "$1"
exec "$2" "$3" "$1"`

describe('a blob store on a full disk', needs('namespaces'), () => {
  it('lets old ones go, keeps what is pinned, leaves others their room, and says what is wrong', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kith-blob-full-'))
    try {
      const shell = ['sh', '-ec', IN_SMALL_SPACE, 'sh', folder, process.execPath]
      const { status, stdout, stderr } = spawnSync(
        'unshare',
        ['-Urm', ...shell, helper('blob-full-disk')],
        { encoding: 'utf8', timeout: 60_000 },
      )
      assert.equal(status, 0, stderr)
      assert.deepEqual(stdout.trim().split('\n'), [
        'old ones make room',
        'pinned ones stay, and it says so',
        'others keep their room',
      ])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
