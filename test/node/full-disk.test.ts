import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { needs } from '../helpers/tools.ts'

const SCRIPT = fileURLToPath(new URL('../helpers/full-disk.ts', import.meta.url))
/** Mounts a small file system over the folder, for this process alone. */
const IN_SMALL_SPACE = `mount -t tmpfs -o size=48m,mode=700 none "$1"
ip link set lo up
exec "$2" "$3" "$1"`

describe('a full disk', needs('namespaces'), () => {
  it('takes the oldest packs, stops no device, and every other write says so and can be done again', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'kith-full-'))
    try {
      const shell = ['sh', '-ec', IN_SMALL_SPACE, 'sh', folder, process.execPath, SCRIPT]
      const { status, stdout, stderr } = spawnSync('unshare', ['-Urnm', ...shell], {
        encoding: 'utf8',
        timeout: 150_000,
      })
      const held = stdout.trim().split('\n')
      t.diagnostic(held.join(', '))
      assert.equal(status, 0, stderr)
      assert.deepEqual(held, [
        'packs',
        'membership acts',
        'pairing counters',
        'peers seen',
        'sensor choices',
        'a new file',
        'a changed file',
        'what libp2p remembers',
        'a start',
      ])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
