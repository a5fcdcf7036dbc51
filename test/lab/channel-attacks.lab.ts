/*
 *      oak (owner) ── switch "lan"
 *
 * One device, and sticks that lie. What is on a stick is judged as what a peer sends; the device is
 * told of each by `kith update import`, and believes what it believed before.
 */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

import { writeDraft } from '../../node/services/update/tuf/draft-folder.ts'
import { nextTargets, readRepository } from '../../node/services/update/tuf/index.ts'
import { encodeIndex, openIndex } from '../../protocols/update/index.ts'
import { sha256 } from '../../protocols/identity/index.ts'
import { toHex, utf8 } from '../../protocols/wire/index.ts'
import { needs } from '../helpers/tools.ts'
import { Channel, DAY, indexOf, key } from '../helpers/tuf.ts'
import { startLab, type Lab, type LabDevice } from './devices.ts'

const LIMIT_MS = 30_000

describe('a device whose channel is attacked', needs('namespaces'), () => {
  let lab: Lab
  let oak: LabDevice
  let folder = ''
  let channel: Channel
  let sticks = 0

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kith-attacks-'))
    lab = await startLab({ lan: [{ device: 'oak', interface: 'eth0' }] })
    await lab.makeHome()
    oak = lab.device('oak')
    channel = new Channel({ nowMs: Date.now() - DAY, rootKeys: 2, rootThreshold: 2 })
    channel.list({ add: [indexOf('1.0.0', 1)] })
    const root = path.join(folder, '1.root.json')
    await writeFile(root, channel.get('1.root.json'))
    await oak.kith(['update', 'pause'])
    await oak.kith(['update', 'trust', root, '--channel', 'vendor'])
    await taken(channel)
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** The channel on a stick. */
  async function stick(from: Channel, pin = channel.pin): Promise<string> {
    const place = path.join(folder, `stick-${++sticks}`)
    for (const [name, bytes] of from.files) {
      const file = path.join(place, name.includes('/') ? 'targets' : 'metadata', name)
      await mkdir(path.dirname(file), { recursive: true })
      await writeFile(file, bytes)
    }
    const mark = { kind: 'kith-channel', v: 1, channel: 'vendor', pin: toHex(pin) }
    await writeFile(path.join(place, 'channel.json'), JSON.stringify(mark))
    return place
  }

  async function taken(from: Channel): Promise<void> {
    await oak.kith(['update', 'import', await stick(from)])
  }

  async function believed(): Promise<string> {
    const { channels } = await oak.api.updates()
    const vendor = channels.find(({ name }) => name === 'vendor')
    return JSON.stringify(vendor?.releases)
  }

  /** Refused for this reason, and nothing is believed that was not before. */
  async function refused(from: Channel | string, code: string): Promise<void> {
    const place = typeof from === 'string' ? from : await stick(from)
    const earlier = await believed()
    await assert.rejects(oak.kith(['update', 'import', place]), (error: Error) => {
      assert.match(error.message, new RegExp(`"code":"${code}","title"`))
      return true
    })
    assert.equal(await believed(), earlier)
  }

  /** A copy with one more release. */
  function next(change: (made: Channel) => void = () => undefined): Channel {
    const made = channel.copy()
    made.list({ add: [indexOf('1.1.0', 2)] })
    change(made)
    return made
  }

  it('refuses what is older than it has seen', async () => {
    const old = channel.copy()
    channel = next()
    await taken(channel)
    await refused(old, 'TUF_ROLLBACK')
  })

  it('refuses what stands still until it has expired', async () => {
    const still = channel.copy()
    still.putTimestamp({ days: 0.5 })
    await refused(still, 'TUF_EXPIRED')
  })

  it('refuses lists of one time under the names of another', async () => {
    const good = channel.copy()
    good.list({ add: [indexOf('1.9.0', 9)] })
    const mixed = good.copy()
    const version = mixed.version.targets
    mixed.files.set(`${version}.targets.json`, mixed.get(`${version - 1}.targets.json`))
    await refused(mixed, 'TUF_HASH')
    channel = good
    await taken(channel)
  })

  it('refuses what strangers signed, a role or the root itself', async () => {
    const stranger = channel.copy()
    stranger.putTimestamp({ key: key('timestamp') })
    await refused(stranger, 'TUF_SIGNATURE')
    const lists = channel.copy()
    lists.list({ add: [indexOf('9.0.0', 99)] }, [key('targets')])
    await refused(lists, 'TUF_SIGNATURE')
    const roots = channel.copy()
    const [one, two] = roots.root
    assert.ok(one && two)
    const own = key('root')
    roots.rotate({ add: [own], remove: [two.id] }, [one, own])
    await refused(roots, 'TUF_SIGNATURE')
  })

  it('stops reading what never ends', async () => {
    const place = await stick(channel)
    await truncate(path.join(place, 'metadata/timestamp.json'), 2 ** 30)
    await refused(place, 'TUF_TOO_LONG')
  })

  it('takes no index but the one that was signed, and no chunk but its own', async () => {
    const made = next((one) => one.list({ add: [indexOf('1.2.0', 3)] }))
    const name = [...made.files.keys()].find((one) => one.endsWith('.1.2.0-3.index')) ?? ''
    made.files.set(name, made.get(name).with(9, 0xff))
    const place = await stick(made)
    await assert.rejects(oak.kith(['update', 'import', place]), /"TUF_HASH","title"/)
    const hash = toHex(sha256(utf8('1.0.0 1')))
    const chunk = path.join(place, 'chunks', hash.slice(0, 2), hash)
    await mkdir(path.dirname(chunk), { recursive: true })
    await writeFile(chunk, new Uint8Array([0, ...utf8('1.0.0 X')]))
    await writeFile(path.join(place, 'targets', name), indexOf('1.2.0', 3))
    const [said] = (await oak.kith(['update', 'import', place])) as [Record<string, unknown>]
    assert.deepEqual([said['chunks'], said['missing']], [0, 4])
    channel = made
    channel.files.set(name, indexOf('1.2.0', 3))
  })

  it('sees that one number was signed twice', async () => {
    const fork = channel.copy()
    const version = fork.version.timestamp
    fork.putSnapshot()
    fork.putTimestamp({ version })
    await refused(fork, 'TUF_FORK')
  })

  it('follows again after a stolen key ran ahead, once the root has others', async () => {
    const ahead = channel.copy()
    ahead.putTimestamp({ version: 2_000_000_000 })
    await taken(ahead)
    channel.list({ add: [indexOf('1.3.0', 4)] })
    await refused(channel, 'TUF_ROLLBACK')
    const [snapshot, timestamp] = [key('snapshot'), key('timestamp')]
    const remove = [channel.snapshot.id, channel.timestamp.id]
    channel.rotate({ add: [snapshot, timestamp], remove }, channel.root)
    Object.assign(channel, { snapshot, timestamp })
    channel.putSnapshot()
    await taken(channel)
    assert.match(await believed(), /1\.3\.0/)
  })

  it('leaves what is for other hardware, and says so in words', async () => {
    const { index } = openIndex(indexOf('1.4.0', 15))
    const other = { ...index, for: { ...index.for, hardware: ['other-board'] } }
    channel.list({ add: [encodeIndex(other).bytes] })
    await taken(channel)
    await oak.kith(['update', 'resume'])
    const row = await lab.until('it is refused', LIMIT_MS, async () => {
      const { devices } = await oak.api.updates()
      return devices.find(({ build, phase }) => build === 15 && phase === 'refused')
    })
    assert.equal(row.code, 'ROLLOUT_NOT_FOR')
    assert.match(row.why ?? '', /not for this device/)
  })

  it('never goes back to a lower build, though its owner signs one', async () => {
    const tree = path.join(folder, 'tool')
    await mkdir(tree)
    await writeFile(path.join(tree, 'version'), '5')
    await oak.kith(['update', 'init'])
    const about = ['--version', '5.0.0', '--build', '5']
    await oak.kith(['update', 'publish', tree, ...about])
    const file = path.join(oak.dataDir, 'installed/tool/current/version')
    await lab.until('5.0.0 runs', LIMIT_MS, () => readFile(file, 'utf8').catch(() => ''))
    const { root, targets } = await readRepository(
      path.join(oak.dataDir, 'update/repositories/home'),
    )
    const listed = JSON.parse(Buffer.from(targets).toString()) as {
      signed: { targets: Record<string, { hashes: { sha256: string } }> }
    }
    const { sha256: id = '' } = listed.signed.targets['tool/5.0.0-5.index']?.hashes ?? {}
    const place = path.join(oak.dataDir, 'update/repositories/home/targets/tool')
    const kept = new Uint8Array(await readFile(path.join(place, `${id}.5.0.0-5.index`)))
    const lower = encodeIndex({ ...openIndex(kept).index, version: '4.0.0', build: 4 }).bytes
    const draft = path.join(folder, 'lower')
    const list = nextTargets(targets, { add: [lower], nowMs: Date.now() })
    await writeDraft(draft, { targets: list, inForce: root, indexes: [lower] })
    await oak.kith(['update', 'sign', draft])
    await oak.kith(['update', 'submit', draft, '--channel', 'home'])
    const { channels, devices } = await oak.api.updates()
    assert.ok(channels.some(({ releases }) => releases.some(({ build }) => build === 4)))
    const row = devices.find(({ name }) => name === 'tool')
    assert.deepEqual([row?.phase, row?.runs?.build], ['healthy', 5])
  })
})
