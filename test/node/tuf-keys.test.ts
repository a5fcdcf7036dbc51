import assert from 'node:assert/strict'
import { it } from 'node:test'

import { makeSnapshot, nextTargets, signDraft } from '../../node/services/update/tuf/drafts.ts'
import { newUpdateKey } from '../../node/services/update/tuf/key-files.ts'
import { sha256Hex, type Role } from '../../node/services/update/tuf/metadata.ts'
import {
  Channel,
  follower,
  indexOf,
  key,
  pathOf,
  random,
  refused,
  refusedBoth,
  resign,
  started,
} from '../helpers/tuf.ts'

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
    await refused(device.refresh(evil), stolen === 'timestamp' ? 'TUF_SIGNATURE' : 'TUF_ROLLBACK')
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
