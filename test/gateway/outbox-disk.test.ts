import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { needs } from '../helpers/tools.ts'

const SCRIPT = fileURLToPath(new URL('../helpers/outbox-full-disk.ts', import.meta.url))
const IN_SMALL_SPACE = `mount -t tmpfs -o size=16m,mode=700 none "$1"
exec "$2" "$3" "$1"`

describe('an outbox on a full disk', needs('namespaces'), () => {
  it('leaves readings in the mesh until there is room', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kith-outbox-full-'))
    try {
      const shell = ['sh', '-ec', IN_SMALL_SPACE, 'sh', folder, process.execPath, SCRIPT]
      const { status, stdout, stderr } = spawnSync('unshare', ['-Urnm', ...shell], {
        encoding: 'utf8',
        timeout: 60_000,
      })
      assert.equal(status, 0, stderr)
      assert.deepEqual(stdout.trim().split('\n'), [
        'takes no more from the mesh',
        'goes on, with nothing lost',
      ])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
