import assert from 'node:assert/strict'
import { it } from 'node:test'

import { nextTargets } from '../../node/services/update/tuf/drafts.ts'
import { newUpdateKey } from '../../node/services/update/tuf/key-files.ts'
import { SIGNED_AT } from '../../node/services/update/tuf/metadata.ts'
import {
  compareWitness,
  NO_WITNESS,
  parseTargetPath,
  witness,
} from '../../node/services/update/tuf/witness.ts'
import {
  DAY,
  indexOf,
  inTime,
  pathOf,
  random,
  refused,
  resign,
  started,
  START_MS,
} from '../helpers/tuf.ts'

it('installs nothing new while the clock is unset, and follows the channel all the same', async () => {
  const { channel, device } = await started()
  await using _ = device
  Object.assign(device.time, { nowMs: 0, quality: 'unset' })
  channel.list({ add: [indexOf('1.1.0', 2)] })
  const view = await device.client.refresh(channel.fetch, inTime())
  assert.equal(view.releases.length, 2)
  assert.equal(view.blocked?.code, 'TUF_CLOCK')
})

it('blocks what is new when the clock leaps by years, and goes on when it is right again', async () => {
  const { channel, device } = await started()
  await using _ = device
  device.time.nowMs = Date.UTC(2099, 0)
  await assert.rejects(device.client.refresh(channel.fetch, inTime()))
  assert.equal(device.client.view()?.blocked?.code, 'TUF_EXPIRED')
  await device.restart()
  device.time.nowMs = START_MS + DAY
  const view = await device.client.refresh(channel.fetch, inTime())
  assert.equal(view.blocked, undefined)
  assert.equal(view.releases.length, 1)
})

it('revives nothing when a clock falls back after it has run on', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.nowMs += 20 * DAY
  channel.putTimestamp()
  await device.refresh(channel)
  channel.nowMs += 29 * DAY
  await device.refresh(channel)
  await device.restart()
  const late = device.time.nowMs
  device.time.nowMs = late + 2 * DAY
  await refused(device.client.refresh(channel.fetch, inTime()), 'TUF_EXPIRED', 'timestamp')
  device.time.nowMs = 0
  await device.restart()
  await refused(device.client.refresh(channel.fetch, inTime()), 'TUF_EXPIRED', 'timestamp')
  assert.equal(device.client.view()?.blocked?.code, 'TUF_EXPIRED')
})

it('judges by the newest time that is signed where the clock says less', async () => {
  const { channel, device } = await started()
  await using _ = device
  const old = channel.get('timestamp.json')
  channel.nowMs += 31 * DAY
  channel.rotate({}, channel.root)
  channel.files.set('timestamp.json', old)
  Object.assign(device.time, { nowMs: START_MS, quality: 'unsynced' })
  await device.client.refresh(channel.fetch, inTime()).catch(() => undefined)
  const again = device.client.refresh(channel.fetch, inTime())
  await refused(again, 'TUF_EXPIRED', 'timestamp')
})

it('lets a stolen online key move time no further than the root lasts', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.putTimestamp({ days: 36_500 })
  const far = { [SIGNED_AT]: '2090-01-01T00:00:00Z' }
  const evil = resign('timestamp', channel.get('timestamp.json'), (s) => Object.assign(s, far), [
    channel.timestamp,
  ])
  channel.files.set('timestamp.json', evil)
  await device.refresh(channel)
  const stolen = channel.timestamp
  channel.timestamp = newUpdateKey('home', 'timestamp', random)
  channel.rotate({ add: [channel.timestamp], remove: [stolen.id] }, channel.root)
  channel.list({ add: [indexOf('1.1.0', 2)] })
  // What the key said of time goes with the key.
  const view = await device.refresh(channel)
  assert.equal(view.blocked, undefined)
  assert.equal(view.signedMs, START_MS)
})

it('keeps listing what a channel no longer lists', async () => {
  const { channel, device } = await started()
  await using _ = device
  const quiet = resign(
    'targets',
    nextTargets(channel.newest('targets'), { nowMs: channel.nowMs }),
    (signed) => (signed['targets'] = {}),
    channel.targets,
  )
  channel.put(quiet)
  await device.refresh(channel)
  await device.restart()
  const view = device.client.view()
  assert.deepEqual(view?.releases, [])
  assert.deepEqual(
    view?.witnessed.map(({ path, withdrawn, since }) => [path, withdrawn, since]),
    [[pathOf('1.0.0', 1), true, 2]],
  )
})

for (const [what, other] of [
  ['the same version and build', pathOf('1.0.0', 1)],
  ['another version and the same build', pathOf('1.0.1', 1)],
] as const) {
  it(`raises an alarm for two releases under ${what}, and offers neither`, async () => {
    const { channel, device } = await started()
    await using _ = device
    const list = nextTargets(channel.newest('targets'), { nowMs: channel.nowMs })
    const target = { length: 200, hashes: { sha256: 'ab'.repeat(32) } }
    const change = (signed: Record<string, unknown>): void => {
      signed['targets'] = { ...(signed['targets'] as object), [other]: target }
    }
    channel.put(resign('targets', list, change, channel.targets))
    const view = await device.refresh(channel)
    assert.deepEqual(
      view.alarms.map(({ name, build }) => [name, build]),
      [['app', 1]],
    )
    assert.ok(view.releases.every(({ conflict }) => conflict))
    await device.restart()
    assert.equal(device.client.view()?.alarms.length, 1)
  })
}

it('raises no alarm for one version that was built twice, or for what comes back unchanged', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.list({ add: [indexOf('1.0.0', 2)] })
  await device.refresh(channel)
  channel.list({ remove: [pathOf('1.0.0', 1)] })
  await device.refresh(channel)
  channel.list({ add: [indexOf('1.0.0', 1)] })
  const view = await device.refresh(channel)
  assert.deepEqual(view.alarms, [])
  assert.deepEqual(
    view.witnessed.map(({ withdrawn }) => withdrawn),
    [false, false],
  )
})

it('finds what two devices were told differently', () => {
  const entry = { path: pathOf('1.0.0', 1), length: 5, withdrawn: false }
  const ours = witness(NO_WITNESS, [{ ...entry, sha256: 'a'.repeat(64) }], 3)
  const theirs = witness(NO_WITNESS, [{ ...entry, sha256: 'b'.repeat(64) }], 3)
  assert.deepEqual(compareWitness(ours, ours.seen), [])
  assert.equal(compareWitness(ours, theirs.seen).length, 1)
})

it('reads the name of a release out of its path, whatever dashes it has', () => {
  assert.deepEqual(parseTargetPath('a-b/1.0-rc-1-7.index'), {
    name: 'a-b',
    version: '1.0-rc-1',
    build: 7,
  })
  for (const bad of [
    'a/1-0.index',
    'a/1..2-1.index',
    'A/1-1.index',
    'a/b/1-1.index',
    'a/1-1.index\n',
  ]) {
    assert.equal(parseTargetPath(bad), undefined, bad)
  }
})
