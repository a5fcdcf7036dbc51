import assert from 'node:assert/strict'
import { truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { it } from 'node:test'

import type { FetchFile } from '../../node/services/update/tuf/client.ts'
import {
  DAY,
  follower,
  indexOf,
  inTime,
  pathOf,
  refused,
  refusedBoth,
  resign,
  started,
} from '../helpers/tuf.ts'

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
  const old = channel.copy()
  channel.list({ add: [indexOf('1.1.0', 2)] })
  await device.refresh(channel)
  await truncate(join(device.folder, 'home', 'trust'), 100)
  await device.restart()
  await refused(device.refresh(old), 'TUF_ROLLBACK')
  await truncate(join(device.folder, 'home', 'trust'), 100)
  await truncate(join(device.folder, 'home', 'trust.copy'), 100)
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

it('parses nothing that is not the file that was signed', async () => {
  for (const role of ['snapshot', 'targets'] as const) {
    const { channel, device } = await started()
    await using _ = device
    channel.list({ add: [indexOf('1.1.0', 2)] })
    channel.files.set(`3.${role}.json`, new TextEncoder().encode('['.repeat(100)))
    await refused(device.refresh(channel), 'TUF_HASH', role)
  }
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

it('refuses another timestamp under the same version, but for one of the same snapshot', async () => {
  const { channel, device } = await started()
  await using _ = device
  const version = channel.version.timestamp
  channel.putTimestamp({ version, days: 29 })
  await device.refresh(channel)
  channel.putSnapshot()
  channel.putTimestamp({ version })
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
    await refused(device.client.refresh(fetch, inTime()), 'TUF_TOO_LONG', file)
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
  const lost = device.client.refresh(() => Promise.reject(new Error('reset')), inTime())
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
    await refused(device.client.index(release, channel.fetch, inTime()), code)
  }
  channel.files.set(file, bytes)
  assert.deepEqual(await device.client.index(release, channel.fetch, inTime()), bytes)
  assert.deepEqual(await device.client.file(file), bytes)
})
