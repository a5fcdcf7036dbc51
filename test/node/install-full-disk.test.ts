import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { needs } from '../helpers/tools.ts'

const SCRIPT = fileURLToPath(new URL('../helpers/install-full.ts', import.meta.url))
/** Mounts a small file system over the folder, for this process alone. */
const IN_SMALL_SPACE = `mount -t tmpfs -o size=6m,mode=700 none "$1"
exec "$2" "$3" "$1"`

describe('a disk that is full at any step', needs('namespaces'), () => {
  it('leaves the old version running, nothing half, and an install that works once there is room', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'kith-install-full-'))
    try {
      const shell = ['sh', '-ec', IN_SMALL_SPACE, 'sh', folder, process.execPath, SCRIPT]
      const options = { encoding: 'utf8', timeout: 120_000 } as const
      const { status, stdout, stderr } = spawnSync('unshare', ['-Urm', ...shell], options)
      t.diagnostic(stdout)
      assert.equal(status, 0, stderr)
      const { refused, installed } = JSON.parse(stdout) as Record<string, number>
      assert.ok((refused ?? 0) >= 4 && (installed ?? 0) >= 2, stdout)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
