/*
 *      hub (owner, publishes) ── switch "lan" ── ash, elm, fir, oak
 *
 * Three versions of a folder: the first, one that is good, and one that is ill. The second is tried
 * by one device and then by all; the third goes back by itself where it was tried first, and comes
 * no further. The hub is off while the ill one is judged.
 */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

import type { DeviceUpdateView } from '../../node/api/view.ts'
import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'
import { never } from './until.ts'

const NAMES = ['hub', 'ash', 'elm', 'fir', 'oak']
const ONLINE_LIMIT_MS = 30_000
const SPREAD_LIMIT_MS = 60_000
const WATCHED_MS = 4000

describe('releases in a home of five devices', needs('namespaces'), () => {
  let lab: Lab
  let folder = ''

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kith-releases-'))
    lab = await startLab({ lan: NAMES.map((device) => ({ device, interface: 'eth0' })) })
    await lab.makeHome()
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    await lab.device('hub').kith(['update', 'init'])
    await lab.device('hub').kith(['update', 'rollout', '--ring', '1:1s', '--ring', '100%'])
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function publish(version: string, health: string): Promise<void> {
    const tree = path.join(folder, 'app')
    await mkdir(tree, { recursive: true })
    await writeFile(path.join(tree, 'version'), version)
    await writeFile(path.join(tree, 'data'), Buffer.alloc(300_000, version))
    const checked = ['--health', `command=${health}`, '--health', 'within=1s']
    await lab.device('hub').kith(['update', 'publish', tree, '--version', version, ...checked])
  }

  async function runs(name: string): Promise<string> {
    const { dataDir } = lab.device(name)
    return readFile(path.join(dataDir, 'installed/app/current/version'), 'utf8').catch(() => '')
  }

  async function everywhere(version: string): Promise<boolean> {
    const all = await Promise.all(NAMES.map((name) => runs(name)))
    return all.every((one) => one === version)
  }

  async function told(at: string): Promise<readonly DeviceUpdateView[]> {
    return (await lab.device(at).api.updates()).devices
  }

  it('spread to every device, from neighbours too', async (t) => {
    await publish('1.0.0', '/bin/true')
    await lab.until('1.0.0 runs everywhere', SPREAD_LIMIT_MS, () => everywhere('1.0.0'))
    const rows = await lab.until('fir knows that all are well', SPREAD_LIMIT_MS, async () => {
      const found = await told('fir')
      return found.filter(({ phase }) => phase === 'healthy').length === NAMES.length && found
    })
    const sources = rows.flatMap(({ from }) => from)
    t.diagnostic(`from ${[...new Set(sources.map(({ name }) => name))].join(', ')}`)
  })

  it('follow each other when the next one is well', async () => {
    await publish('2.0.0', '/bin/true')
    await lab.until('2.0.0 runs everywhere', SPREAD_LIMIT_MS, () => everywhere('2.0.0'))
  })

  it('go back by themselves where they are ill, and come no further', async (t) => {
    await publish('3.0.0', '/bin/false')
    const ill = await lab.until('one device went back', SPREAD_LIMIT_MS, async () => {
      const rows = await told('elm')
      return rows.find(({ version, phase }) => version === '3.0.0' && phase === 'rolled-back')
    })
    t.diagnostic(`tried by ${ill.deviceName}`)
    await lab.device(ill.deviceName === 'hub' ? 'ash' : 'hub').stop('SIGTERM')
    await never('3.0.0 runs anywhere', WATCHED_MS, async () => {
      const all = await Promise.all(NAMES.map((name) => runs(name)))
      return all.includes('3.0.0')
    })
    const others = (await told('elm')).filter(({ version, phase }) => {
      return version === '3.0.0' && (phase === 'rolled-back' || phase === 'healthy')
    })
    assert.deepEqual(
      others.map(({ deviceName }) => deviceName),
      [ill.deviceName],
    )
    assert.equal(await everywhere('2.0.0'), true)
  })
})
