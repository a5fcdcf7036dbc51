/** A real `kith up` that is reset: the same process goes on, as a new device. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { createClient } from '../../node/api/client.ts'
import { folders } from '../helpers/device.ts'
import { kith } from '../helpers/kith-process.ts'

const MAIN = fileURLToPath(new URL('../../node/cli/main.ts', import.meta.url))

it('a device that was reset is nobody, runs on, and can be paired at once', async () => {
  await using made = folders()
  const dir = await made.make()
  const child = spawn(process.execPath, [MAIN, 'up', '--data-dir', dir], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], KITH_API_DASHBOARD: 'false', KITH_LOG_FORMAT: 'json' },
  })
  const ended = once(child, 'exit')
  try {
    const lines = createInterface({ input: child.stderr })
    for await (const line of lines) if (line.includes('"ready"')) break
    child.stderr.resume()
    const client = createClient(join(dir, 'kith.sock'), new AbortController().signal)
    const before = (await client.status()).device.id
    const reset = await kith(['reset', '-y'], { dir })
    assert.equal(reset.code, 0, reset.stderr)
    assert.match(reset.stdout, /\nTo pair it again: kith pair\n$/)
    const after = (await client.status()).device.id
    assert.notEqual(after, before)
    assert.equal(child.exitCode, null)
  } finally {
    child.kill('SIGTERM')
    const [code] = (await ended) as [number | null]
    assert.equal(code, 0)
  }
})
