/*
 *      hub (eth0, publishes) ── switch "lan" ── (eth0) nap, which sleeps
 *
 * What a device that sleeps has of a release: news of it, and what fits, in each of its windows; and
 * the rest in the next ones. The hub gives so little in a second that one window is not enough.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'

const LIMIT_MS = 120_000
const WINDOW_MS = 2_000
/** A window is let to end what may not be torn. */
const SLACK_MS = 1_500
const RELEASE_BYTES = 2_000_000

describe('a release for a device that sleeps', needs('namespaces'), () => {
  let lab: Lab
  let folder = ''

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kith-nap-'))
    lab = await startLab(
      { lan: ['hub', 'nap'].map((device) => ({ device, interface: 'eth0' })) },
      {
        files: {
          nap: `
            [power]
            mode = "sleepy"
            period = "10s"
            window = "${WINDOW_MS}ms"`,
          hub: `
            [update]
            upload_limit = "500kB"`,
        },
        settings: { nap: { 'telemetry.sensors': 'load' } },
      },
    )
    await lab.makeHome()
    await lab.device('hub').kith(['update', 'init'])
    await lab.device('hub').kith(['update', 'rollout', '--ring', '100%'])
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  it('comes in several windows, none of which is longer for it', async (t) => {
    const tree = path.join(folder, 'app')
    await mkdir(tree)
    await writeFile(path.join(tree, 'data'), randomBytes(RELEASE_BYTES))
    await writeFile(path.join(tree, 'version'), '1.0.0')
    const already = lab.device('nap').logged(/window closed/).length
    await lab.device('hub').kith(['update', 'publish', tree, '--version', '1.0.0'])
    const { dataDir } = lab.device('nap')
    await lab.until('nap runs 1.0.0', LIMIT_MS, async () => {
      const found = await readFile(
        path.join(dataDir, 'installed/app/current/version'),
        'utf8',
      ).catch(() => '')
      return found === '1.0.0'
    })
    const windows = lab
      .device('nap')
      .logged(/window closed/)
      .slice(already)
    const lengths = windows.map((line) => Number(/"ms":(\d+)/.exec(line)?.[1]))
    t.diagnostic(`windows of ${lengths.join(', ')} ms`)
    assert.ok(lengths.length >= 2)
    for (const ms of lengths) assert.ok(ms <= WINDOW_MS + SLACK_MS, `${ms} ms`)
    await lab.until('the hub hears that it is well', LIMIT_MS, async () => {
      const { devices } = await lab.device('hub').api.updates()
      return devices.some(({ deviceName, phase }) => deviceName === 'nap' && phase === 'healthy')
    })
  })
})
