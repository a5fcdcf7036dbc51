import assert from 'node:assert/strict'
import { it } from 'node:test'

import type { FetchFile } from '../../node/services/update/tuf/client.ts'
import { makeSnapshot, nextTargets, signDraft } from '../../node/services/update/tuf/drafts.ts'
import { TufError, type TufErrorCode } from '../../node/services/update/tuf/errors.ts'
import { sha256Hex, type Role } from '../../node/services/update/tuf/metadata.ts'
import { newUpdateKey } from '../../node/services/update/tuf/key-files.ts'
import {
  Channel,
  DAY,
  follower,
  indexOf,
  key,
  pathOf,
  random,
  resign,
  type Follower,
} from '../helpers/tuf.ts'

const never = (): AbortSignal => AbortSignal.timeout(20_000)

async function refused(run: Promise<unknown>, code: TufErrorCode, about?: string): Promise<void> {
  await assert.rejects(run, (error) => {
    assert.ok(error instanceof TufError, String(error))
    assert.equal(error.code, code, error.message)
    if (about !== undefined) assert.equal(error.about, about, error.message)
    return true
  })
}

/** A device that has seen one release of a channel. */
async function started(options?: ConstructorParameters<typeof Channel>[0]) {
  const channel = new Channel(options)
  channel.list({ add: [indexOf('1.0.0', 1)] })
  const device = await follower(channel)
  await device.refresh(channel)
  return { channel, device }
}

/** Refused by a device that runs, and by one that starts anew. */
async function refusedBoth(device: Follower, bad: Channel, code: TufErrorCode): Promise<void> {
  await refused(device.refresh(bad), code)
  await device.restart()
  await refused(device.refresh(bad), code)
}

it('follows a channel, and lists what it releases', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.list({ add: [indexOf('1.1.0', 2)] })
  const view = await device.refresh(channel)
  assert.deepEqual(
    view.releases.map(({ path, conflict }) => [path, conflict]),
    [
      [pathOf('1.0.0', 1), false],
      [pathOf('1.1.0', 2), false],
    ],
  )
  assert.equal(view.blocked, undefined)
})

it('asks for nothing but the next root and the timestamp when nothing is new', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.asked.length = 0
  await device.refresh(channel)
  assert.deepEqual(channel.asked, ['2.root.json', 'timestamp.json'])
})

it('refuses the whole channel as it was before', async () => {
  const { channel, device } = await started()
  await using _ = device
  const old = channel.copy()
  channel.list({ add: [indexOf('1.1.0', 2)] })
  await device.refresh(channel)
  await refusedBoth(device, old, 'TUF_ROLLBACK')
})

it('refuses a new timestamp of an older snapshot', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.version.snapshot = 1
  channel.putTimestamp()
  await refusedBoth(device, channel, 'TUF_ROLLBACK')
})

it('refuses a new snapshot of an older list, whoever holds the online keys', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.version.targets = 1
  channel.putSnapshot()
  await refusedBoth(device, channel, 'TUF_ROLLBACK')
})

it('refuses a snapshot that no longer lists what an older one listed', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.putSnapshot()
  const more = resign(
    'snapshot',
    channel.newest('snapshot'),
    (signed) => Object.assign(signed['meta'] as object, { 'other.json': { version: 3 } }),
    [channel.snapshot],
  )
  channel.files.set(`${channel.version.snapshot}.snapshot.json`, more)
  channel.putTimestamp()
  await device.refresh(channel)
  channel.putSnapshot()
  await refusedBoth(device, channel, 'TUF_ROLLBACK')
})

it('refuses a root that skips a version', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.rotate({}, channel.root)
  channel.files.set(
    '2.root.json',
    resign('root', channel.newest('root'), (root) => (root['version'] = 3), channel.root),
  )
  await refusedBoth(device, channel, 'TUF_ROLLBACK')
})

it('refuses a root of the same version under the next name', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.files.set('2.root.json', channel.get('1.root.json'))
  await refusedBoth(device, channel, 'TUF_ROLLBACK')
})

it('remembers what it saw when one copy of its memory is damaged', async () => {
  const { channel, device } = await started()
  await using _ = device
  const { truncate } = await import('node:fs/promises')
  const old = channel.copy()
  channel.list({ add: [indexOf('1.1.0', 2)] })
  await device.refresh(channel)
  await truncate(`${device.folder}/home/trust`, 100)
  await device.restart()
  await refused(device.refresh(old), 'TUF_ROLLBACK')
  await truncate(`${device.folder}/home/trust`, 100)
  await truncate(`${device.folder}/home/trust.copy`, 100)
  await refused(device.restart(), 'TUF_STORE')
})

for (const [role, after] of [
  ['timestamp', 31],
  ['snapshot', 91],
  ['targets', 731],
] as const) {
  it(`refuses to follow a channel whose ${role} has expired, and installs nothing new`, async () => {
    const { channel, device } = await started()
    await using _ = device
    device.time.nowMs = channel.nowMs + after * DAY
    // Whoever holds back news can still hand out what is not yet old.
    if (role !== 'timestamp') {
      channel.nowMs = device.time.nowMs
      if (role === 'targets') {
        channel.rotate({}, channel.root)
        channel.putSnapshot()
      } else channel.putTimestamp()
    }
    await refused(device.refresh(channel), 'TUF_EXPIRED', role)
    assert.deepEqual(device.client.view()?.blocked?.code, 'TUF_EXPIRED')
    assert.equal(device.client.view()?.releases.length, 1)
  })
}

it('refuses to follow a channel whose root has expired, until a newer one comes', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.nowMs += 731 * DAY
  channel.list({})
  await refused(device.refresh(channel), 'TUF_EXPIRED', 'root')
  channel.rotate({}, channel.root)
  assert.equal((await device.refresh(channel)).roles.root?.version, 2)
})

it('accepts a file until the second in which it expires', async () => {
  const { channel, device } = await started()
  await using _ = device
  device.time.nowMs = channel.nowMs + 30 * DAY - 1
  await device.refresh(channel)
  device.time.nowMs += 1
  await refused(device.refresh(channel), 'TUF_EXPIRED', 'timestamp')
})

it('refuses an old list under a new snapshot, and an old snapshot under a new timestamp', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.list({ add: [indexOf('1.1.0', 2)] })
  const lists = channel.copy()
  lists.files.set('3.targets.json', channel.get('2.targets.json'))
  await refusedBoth(device, lists, 'TUF_HASH')
  const snapshots = channel.copy()
  snapshots.files.set('3.snapshot.json', channel.get('2.snapshot.json'))
  await refusedBoth(await follower(channel), snapshots, 'TUF_HASH')
})

it('refuses another list that the same keys signed under the same version', async () => {
  const { channel, device } = await started()
  await using _ = device
  const other = resign(
    'targets',
    channel.newest('targets'),
    (signed) => (signed['targets'] = {}),
    channel.targets,
  )
  channel.put(other)
  await refusedBoth(device, channel, 'TUF_FORK')
})

it('refuses another timestamp under the same version', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.putTimestamp({ version: channel.version.timestamp, days: 29 })
  await refusedBoth(device, channel, 'TUF_FORK')
})

for (const [file, role] of [
  ['timestamp.json', 'timestamp'],
  ['3.snapshot.json', 'snapshot'],
  ['3.targets.json', 'targets'],
  ['2.root.json', 'root'],
] as const) {
  it(`stops reading a ${role} that never ends`, async () => {
    const { channel, device } = await started()
    await using _ = device
    channel.list({ add: [indexOf('1.1.0', 2)] })
    let read = 0
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        read += 16_384
        yield new Uint8Array(16_384).fill(32)
        await Promise.resolve()
      }
    }
    const fetch: FetchFile = async (name, asked, max, signal) =>
      asked === file ? endless() : channel.fetch(name, asked, max, signal)
    await refused(device.client.refresh(fetch, never()), 'TUF_TOO_LONG', file)
    assert.ok(read <= 98_304, `${read} bytes`)
  })
}

it('gives up on a source that answers nothing', async () => {
  const { channel, device } = await started()
  await using _ = device
  const stop = new AbortController()
  const waiting = device.client.refresh(() => new Promise(() => {}), stop.signal)
  stop.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  await device.refresh(channel)
})

it('tells a lost link from an attack', async () => {
  const { channel, device } = await started()
  await using _ = device
  const lost = device.client.refresh(() => Promise.reject(new Error('reset')), never())
  await refused(lost, 'TUF_UNREACHABLE')
  channel.files.delete('timestamp.json')
  await refused(device.refresh(channel), 'TUF_MISSING')
  channel.files.set('timestamp.json', new TextEncoder().encode('<html>'))
  await refused(device.refresh(channel), 'TUF_MALFORMED')
})

it('refuses an index of the wrong hash or the wrong length', async () => {
  const { channel, device } = await started()
  await using _ = device
  const release = device.client.view()?.releases[0]
  assert.ok(release !== undefined)
  const file = `app/${release.sha256}.1.0.0-1.index`
  const bytes = channel.get(file)
  const flipped = bytes.with(5, (bytes[5] ?? 0) ^ 1)
  for (const [wrong, code] of [
    [flipped, 'TUF_HASH'],
    [bytes.subarray(0, 40), 'TUF_HASH'],
    [new Uint8Array([...bytes, 0]), 'TUF_TOO_LONG'],
  ] as const) {
    channel.files.set(file, wrong)
    await refused(device.client.index(release, channel.fetch, never()), code)
  }
  channel.files.set(file, bytes)
  assert.deepEqual(await device.client.index(release, channel.fetch, never()), bytes)
  assert.deepEqual(await device.client.file(file), bytes)
})

for (const role of ['timestamp', 'snapshot', 'targets', 'root'] as const) {
  it(`refuses a ${role} that another role's key signed, and one without a signature`, async () => {
    for (const wrong of [true, false]) {
      const { channel, device } = await started()
      await using _ = device
      channel.list({ add: [indexOf('1.1.0', 2)] })
      const by = (fit: Role): ReturnType<typeof key>[] => {
        const own = { root: channel.root, targets: channel.targets }
        const other = fit === 'snapshot' ? channel.timestamp : channel.snapshot
        if (fit === role) return wrong ? [other] : []
        return fit === 'root' || fit === 'targets' ? own[fit] : [channel[fit]]
      }
      const anew = (fit: Exclude<Role, 'timestamp'>): Uint8Array =>
        resign(fit, channel.newest(fit), () => undefined, by(fit))
      if (role === 'root') {
        channel.rotate({}, channel.root)
        channel.files.set('2.root.json', anew('root'))
      }
      if (role === 'targets') channel.put(anew('targets'))
      if (role === 'snapshot') {
        channel.files.set('3.snapshot.json', anew('snapshot'))
        channel.putTimestamp()
      }
      if (role === 'timestamp') {
        const signed = resign(role, channel.get('timestamp.json'), () => undefined, by(role))
        channel.files.set('timestamp.json', signed)
      }
      await refusedBoth(device, channel, 'TUF_SIGNATURE')
    }
  })
}

it('refuses a list that fewer keys signed than must', async () => {
  const { channel, device } = await started({ targetsKeys: 3, targetsThreshold: 2 })
  await using _ = device
  channel.list({ add: [indexOf('1.1.0', 2)] }, channel.targets.slice(0, 1))
  await refusedBoth(device, channel, 'TUF_SIGNATURE')
})

it('refuses one signature given twice, in either spelling', async () => {
  const { channel, device } = await started({ targetsKeys: 3, targetsThreshold: 2 })
  await using _ = device
  channel.list({ add: [indexOf('1.1.0', 2)] }, channel.targets.slice(0, 1))
  const list = JSON.parse(Buffer.from(channel.newest('targets')).toString())
  const [one] = list.signatures
  list.signatures = [one, one]
  channel.put(new TextEncoder().encode(JSON.stringify(list)))
  await refused(device.refresh(channel), 'TUF_MALFORMED')
  const second = channel.targets[1]?.id
  list.signatures = [one, { keyid: second, sig: one.sig }]
  channel.put(new TextEncoder().encode(JSON.stringify(list)))
  await refused(device.refresh(channel), 'TUF_SIGNATURE')
})

it('refuses a root that names one key twice, which would count twice', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.rotate({ add: [key('targets')], thresholds: { targets: 2 } }, channel.root)
  const [first, second] = channel.targets
  assert.ok(first !== undefined && second === undefined)
  const twice = resign(
    'root',
    channel.newest('root'),
    (root) => {
      const keys = root['keys'] as Record<string, { keyval: { public: string } }>
      const { keyids } = (root['roles'] as Record<string, { keyids: string[] }>)['targets'] ?? {
        keyids: [],
      }
      const other = keys[keyids[1] ?? '']
      assert.ok(other !== undefined)
      other.keyval.public = Buffer.from(first.publicKey).toString('hex').toUpperCase()
    },
    channel.root,
  )
  channel.files.set('2.root.json', twice)
  await refusedBoth(device, channel, 'TUF_MALFORMED')
})

for (const stolen of ['timestamp', 'snapshot'] as const) {
  it(`recovers from a ${stolen} key that ran far ahead, once the root names another`, async () => {
    const { channel, device } = await started()
    await using _ = device
    const evil = channel.copy()
    if (stolen === 'timestamp') evil.putTimestamp({ version: 2 ** 50 })
    else {
      const bytes = makeSnapshot(
        2 ** 50,
        { version: 2, bytes: channel.newest('targets') },
        { key: channel.snapshot, nowMs: channel.nowMs },
      )
      evil.version.snapshot = 2 ** 50
      evil.files.set(`${2 ** 50}.snapshot.json`, bytes)
      evil.putTimestamp()
    }
    await device.refresh(evil)
    channel.list({ add: [indexOf('1.1.0', 2)] })
    channel.putTimestamp()
    await refused(device.refresh(channel), 'TUF_ROLLBACK')
    const old = channel[stolen]
    channel[stolen] = newUpdateKey('home', stolen, random)
    channel.rotate({ add: [channel[stolen]], remove: [old.id] }, channel.root)
    channel.putSnapshot()
    await device.restart()
    const view = await device.refresh(channel)
    assert.equal(view.releases.length, 2)
    await refused(device.refresh(evil), 'TUF_SIGNATURE')
  })
}

it('follows a change of keys that enough of the old and of the new ones signed', async () => {
  const { channel, device } = await started({ rootKeys: 3, rootThreshold: 2 })
  await using _ = device
  const old = channel.root
  const fresh = [key('root'), key('root'), key('root')]
  const change = { add: fresh, remove: old.map(({ id }) => id) }
  const attempt = (signers: typeof old): Channel => {
    const copy = channel.copy()
    copy.rotate(change, signers)
    return copy
  }
  // Two of three old keys are lost: the one that is left cannot say who follows.
  await refusedBoth(device, attempt([...old.slice(0, 1), ...fresh]), 'TUF_SIGNATURE')
  await refusedBoth(device, attempt([...old, ...fresh.slice(0, 1)]), 'TUF_SIGNATURE')
  await refusedBoth(device, attempt(fresh), 'TUF_SIGNATURE')
  const view = await device.refresh(attempt([...old.slice(1), ...fresh.slice(1)]))
  assert.equal(view.roles.root?.version, 2)
})

it('takes a channel whose keys are lost from a new root that the owner pins', async () => {
  const { channel, device } = await started()
  await using _ = device
  const anew = new Channel()
  anew.list({ add: [indexOf('2.0.0', 9)] })
  await refused(device.refresh(anew), 'TUF_SIGNATURE')
  await device.restart(anew.pin)
  const view = await device.refresh(anew)
  assert.deepEqual(
    view.releases.map(({ path }) => path),
    [pathOf('2.0.0', 9)],
  )
  void channel
})

it('follows many changes of keys at once after a long sleep', async () => {
  const { channel, device } = await started()
  await using _ = device
  for (let i = 0; i < 7; i++) {
    const [old, fresh] = [channel.root, [key('root')]]
    channel.rotate({ add: fresh, remove: old.map(({ id }) => id) }, [...old, ...fresh])
    channel.root = fresh
  }
  assert.equal((await device.refresh(channel)).roles.root?.version, 8)
})

it('believes a first root for its hash alone', async () => {
  const channel = new Channel()
  await using device = await follower(channel)
  await refused(device.refresh(new Channel()), 'TUF_PIN')
  assert.equal(device.client.view(), undefined)
})

it('refuses a channel that hands releases on to other keys', async () => {
  const { channel, device } = await started()
  await using _ = device
  const other = key('targets')
  const list = nextTargets(channel.newest('targets'), { nowMs: channel.nowMs })
  const role = { name: 'cam', keyids: [other.id], threshold: 1, terminating: false, paths: ['*'] }
  const hex = Buffer.from(other.publicKey).toString('hex')
  const delegations = {
    keys: { [other.id]: { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: hex } } },
    roles: [role],
  }
  channel.put(
    resign('targets', list, (signed) => (signed['delegations'] = delegations), channel.targets),
  )
  await refusedBoth(device, channel, 'TUF_DELEGATIONS')
  assert.equal(device.client.view()?.releases.length, 1)
})

it('passes over targets with names that no release has, and opens no path from them', async () => {
  const { channel, device } = await started()
  await using _ = device
  const names = [
    '../../etc/passwd',
    'app/../1.0.0-1.index',
    'app/%2e%2e-1.index',
    "app/1'; rm -rf-3.index",
    'app/1.0.0-01.index',
    'app/1.0.0-4294967296.index',
    '__proto__',
    'constructor/1-1.indexx',
    'ünï/1-1.index',
    'a b/1-1.index',
    '',
  ]
  const targets = Object.fromEntries(
    names.map((name) => [name, { length: 1, hashes: { sha256: sha256Hex(new Uint8Array(1)) } }]),
  )
  const list = nextTargets(channel.newest('targets'), { nowMs: channel.nowMs })
  const bytes = resign(
    'targets',
    list,
    (signed) => (signed['targets'] = { ...(signed['targets'] as object), ...targets }),
    channel.targets,
  )
  channel.put(bytes)
  const view = await device.refresh(channel)
  assert.deepEqual(
    view.releases.map(({ path }) => path),
    [pathOf('1.0.0', 1)],
  )
  for (const name of [...names, '../trust', '1.root.json/', 'app/..', 'timestamp.json\0']) {
    assert.equal(await device.client.file(name), undefined)
  }
})

it('refuses numbers that are no whole numbers, and dates that are no dates', async () => {
  for (const change of [
    { version: 2.5 },
    { version: 1e300 },
    { version: 0 },
    { expires: '2026' },
    { expires: '2099-01-01T00:00:00+14:00' },
    { _type: 'root' },
    { meta: {} },
  ]) {
    const { channel, device } = await started()
    await using _ = device
    channel.putTimestamp()
    const json = JSON.parse(Buffer.from(channel.get('timestamp.json')).toString())
    Object.assign(json.signed, change)
    channel.files.set('timestamp.json', new TextEncoder().encode(JSON.stringify(json)))
    await refused(device.refresh(channel), 'TUF_MALFORMED', 'timestamp')
  }
})

it('refuses ten thousand targets before it parses them', async () => {
  const { channel, device } = await started()
  await using _ = device
  const list = nextTargets(channel.newest('targets'), { nowMs: channel.nowMs })
  const json = JSON.parse(Buffer.from(list).toString())
  for (let i = 0; i < 10_000; i++) json.signed.targets[`x${i}`] = { length: 1, hashes: {} }
  channel.put(new TextEncoder().encode(JSON.stringify(json)))
  const before = performance.now()
  await refused(device.refresh(channel), 'TUF_TOO_MANY')
  assert.ok(performance.now() - before < 1_000)
})

it('does not take the signature of a draft for that of another', async () => {
  const { channel, device } = await started()
  await using _ = device
  const list = signDraft(
    nextTargets(channel.newest('targets'), { nowMs: channel.nowMs }),
    channel.targets,
  )
  const json = JSON.parse(Buffer.from(list).toString())
  json.signed.expires = '2050-01-01T00:00:00Z'
  channel.put(new TextEncoder().encode(JSON.stringify(json)))
  await refusedBoth(device, channel, 'TUF_SIGNATURE')
})
