/*
 *      hub (owner, publishes) ── switch "lan" ── ash, elm, fir, oak
 *
 * Three versions of a folder: the first, one that is good, and one that is ill. The second is tried
 * by one device and then by all; the third goes back by itself where it was tried first, and comes
 * no further. The hub is off while the ill one is judged.
 *
 * Then Kith itself, in the same home: every device runs under the launcher, and replaces itself by
 * another build of this checkout, and by one that does not start.
 */
import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import type { DeviceUpdateView } from '../../node/api/view.ts'
import { needs } from '../helpers/tools.ts'
import { historyOf, startLab, type Lab } from './devices.ts'
import { never } from './until.ts'

const NAMES = ['hub', 'ash', 'elm', 'fir', 'oak']
const ONLINE_LIMIT_MS = 30_000
const SPREAD_LIMIT_MS = 60_000
const WATCHED_MS = 4000
const BACK_LIMIT_MS = 5000
const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url))

describe('releases in a home of five devices', needs('namespaces'), () => {
  let lab: Lab
  let folder = ''
  /** The device that was stopped. */
  let off = 'hub'

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kith-releases-'))
    const lan = NAMES.map((device) => ({ device, interface: 'eth0' }))
    lab = await startLab({ lan }, { launched: 'kith' })
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
    const checked = ['--health', `command=${health}`, '--health', 'for=1s', '--health', 'within=2s']
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
    off = ill.deviceName === 'hub' ? 'ash' : 'hub'
    await lab.device(off).stop('SIGTERM')
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

  /** A build of Kith: the sources of this checkout. What it depends on lies beside the versions. */
  async function publishKith(version: string, change: (tree: string) => Promise<void>) {
    const tree = path.join(folder, 'kith')
    await rm(tree, { recursive: true, force: true })
    for (const part of ['node', 'protocols', 'package.json']) {
      await cp(path.join(CHECKOUT, part), path.join(tree, part), { recursive: true })
    }
    const about = path.join(tree, 'package.json')
    const described = JSON.parse(await readFile(about, 'utf8')) as object
    await writeFile(about, JSON.stringify({ ...described, version }))
    await change(tree)
    await lab.device('hub').kith(['update', 'publish', tree, '--version', version])
  }

  const versionOf = async (name: string): Promise<string> =>
    (await lab.device(name).api.status()).version

  /** From the end of the process that ran to the first neighbour of the one that runs `version`. */
  async function backAfter(name: string, version: string): Promise<number> {
    const { api } = lab.device(name)
    await lab.until(`${name} leaves`, SPREAD_LIMIT_MS, () =>
      api.status().then(
        (status) => status.version === version,
        () => true,
      ),
    )
    const left = performance.now()
    await lab.until(`${name} is back with ${version}`, SPREAD_LIMIT_MS, async () => {
      if ((await api.status()).version !== version) return false
      return (await api.devices()).some(({ self, state }) => !self && state === 'online')
    })
    return performance.now() - left
  }

  it('replace Kith itself, which is back among the others in no time, as who it was', async (t) => {
    await lab.device(off).start()
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    const ids = new Map<string, string>()
    for (const name of NAMES) {
      const { dataDir, api } = lab.device(name)
      await symlink(path.join(CHECKOUT, 'node_modules'), path.join(dataDir, 'node_modules'))
      ids.set(name, (await api.status()).device.id)
    }
    await lab.freshReading('hub', 'fir', SPREAD_LIMIT_MS)
    const since = Date.now()
    const back = NAMES.map((name) => backAfter(name, '9.0.0'))
    await publishKith('9.0.0', async () => undefined)
    const times = await Promise.all(back)
    t.diagnostic(`back after ${times.map((ms) => Math.round(ms)).join(', ')} ms`)
    // One goes first; the others start at once, and share the processor of this machine.
    assert.ok(Math.min(...times) < BACK_LIMIT_MS)
    assert.ok(Math.max(...times) < 6 * BACK_LIMIT_MS)
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    for (const name of NAMES) {
      assert.equal((await lab.device(name).api.status()).device.id, ids.get(name))
    }
    await lab.freshReading('hub', 'fir', SPREAD_LIMIT_MS)
    const kept = await historyOf(lab.device('hub'), ids.get('fir') ?? '', since)
    assert.ok(kept.length > 0 && kept.every((row) => !('gap' in row) && row.verified))
  })

  it('bring Kith back where its next build does not start, and come no further', async (t) => {
    await publishKith('9.1.0', (tree) =>
      writeFile(path.join(tree, 'node/cli/main.ts'), "throw new Error('ill')\n"),
    )
    const ill = await lab.until('one device went back', SPREAD_LIMIT_MS, async () => {
      const rows = await told('hub')
      return rows.find(({ version, phase }) => version === '9.1.0' && phase === 'rolled-back')
    })
    t.diagnostic(`tried by ${ill.deviceName}`)
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    await never('9.1.0 is tried elsewhere', WATCHED_MS, async () => {
      const all = await Promise.all(NAMES.map((name) => versionOf(name)))
      return all.some((one) => one !== '9.0.0')
    })
  })

  it('are taken back, and a channel is trusted no more', async () => {
    await lab.device('hub').kith(['update', 'withdraw', 'app', '3.0.0'])
    await lab.until('fir lists 3.0.0 no more', SPREAD_LIMIT_MS, async () => {
      const { channels } = await lab.device('fir').api.updates()
      return channels.every(({ releases }) => releases.every(({ version }) => version !== '3.0.0'))
    })
    await lab.device('hub').kith(['update', 'distrust', 'home'])
    await lab.until('fir trusts no channel', SPREAD_LIMIT_MS, async () => {
      return (await lab.device('fir').api.updates()).channels.length === 0
    })
    assert.equal(await everywhere('2.0.0'), true)
  })
})
