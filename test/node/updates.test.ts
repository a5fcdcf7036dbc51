import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { NOT_FOR, rolloutOrder } from '../../protocols/update/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { deviceOf } from '../helpers/telemetry.ts'
import { key } from '../helpers/tuf.ts'
import { releaseOf, SELF, UpdateRoom } from '../helpers/updates.ts'

const HOUR_MS = 3_600_000

/** A release in whose order this device comes second of two. */
function secondOf(other: Uint8Array, build: number) {
  for (let n = 0; n < 64; n++) {
    const release = releaseOf(build, { args: { n: String(n) } })
    const [first] = rolloutOrder(release.id, [SELF.key, other])
    if (first !== undefined && equalBytes(first, other)) return release
  }
  throw new Error('never second')
}

describe('an update', () => {
  it('goes from a neighbour to a version that runs, and says each step', async () => {
    await using room = await UpdateRoom.open()
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 healthy')
    assert.deepEqual(room.said, [
      'app 1 fetching',
      'app 1 staged',
      'app 1 installed',
      'app 1 healthy',
    ])
    assert.deepEqual(room.installs.steps, ['stage 1', 'switch 1'])
    const report = room.lastReport()
    assert.equal(report?.phase, 'healthy')
    assert.equal(report?.from[0]?.bytes, 'content 1 app'.length)
    assert.deepEqual(await readdir(join(room.folder, 'work')), [])
  })

  it('goes to the newest build at once, and never back', async () => {
    await using room = await UpdateRoom.open()
    await room.start()
    await room.publish(releaseOf(3), releaseOf(1))
    await room.says('app 3 healthy')
    await room.publish(releaseOf(2))
    assert.deepEqual(room.installs.steps, ['stage 3', 'switch 3'])
  })

  it('is refused where it is for other hardware, and nothing of it is fetched', async () => {
    await using room = await UpdateRoom.open()
    await room.start()
    const target = { hardware: ['other'], arch: [], groups: [], requires: [] }
    await room.publish(releaseOf(1, { for: target }))
    await room.says(`app 1 refused ${NOT_FOR}`)
    assert.deepEqual(room.fetched, [])
  })

  it('is fetched at once and waits for its ring', async () => {
    const other = deviceOf('other')
    await using room = await UpdateRoom.open({ devices: [SELF.key, other.key] })
    await room.start()
    const release = secondOf(other.key, 1)
    await room.publish(release)
    await room.says('app 1 waiting ROLLOUT_RING')
    assert.deepEqual(room.fetched, ['app 1'])
    room.hear(other, release, 'healthy')
    await room.clock.advance(HOUR_MS - 1000)
    assert.deepEqual(room.installs.steps, [])
    await room.clock.advance(61_000)
    await room.says('app 1 healthy')
  })

  it('stops for good where the first device went back', async () => {
    const other = deviceOf('other')
    await using room = await UpdateRoom.open({ devices: [SELF.key, other.key] })
    await room.start()
    const release = secondOf(other.key, 1)
    await room.publish(release)
    await room.says('app 1 waiting ROLLOUT_RING')
    room.hear(other, release, 'rolled-back')
    await room.says('app 1 waiting ROLLOUT_HALTED')
    await room.clock.advance(48 * HOUR_MS)
    assert.deepEqual(room.installs.steps, [])
  })

  it('that is ill is left, said, and not tried again after a restart', async () => {
    await using room = await UpdateRoom.open()
    room.installs.ill.add(2)
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 healthy')
    await room.publish(releaseOf(2))
    await room.says('app 2 rolled-back UPDATE_ILL')
    await room.kill()
    await room.start()
    await room.clock.advance(2 * HOUR_MS)
    assert.deepEqual(room.installs.steps, ['stage 1', 'switch 1', 'stage 2', 'switch 2'])
    assert.equal(room.lastReport()?.phase, 'rolled-back')
    assert.equal(room.lastReport()?.runs?.build, 1)
    await room.publish(releaseOf(3))
    await room.says('app 3 healthy')
  })

  it('that was ill is tried again once a person wants it, though it went back here', async () => {
    await using room = await UpdateRoom.open()
    room.installs.ill.add(2)
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 healthy')
    await room.publish(releaseOf(2))
    await room.says('app 2 rolled-back UPDATE_ILL')
    room.installs.ill.delete(2)
    const state = await room.installs.state('app')
    room.installs.states.set('app', { ...state, ill: [] })
    await room.updates.look()
    await room.says('app 2 healthy')
  })

  it('that was ill stays the last word when someone goes back further by hand', async () => {
    await using room = await UpdateRoom.open()
    room.installs.ill.add(3)
    await room.start()
    for (const build of [1, 2]) {
      await room.publish(releaseOf(build))
      await room.says(`app ${build} healthy`)
    }
    await room.publish(releaseOf(3))
    await room.says('app 3 rolled-back UPDATE_ILL')
    await room.updates.rollback('app', new AbortController().signal)
    await room.clock.advance(HOUR_MS)
    assert.equal(room.lastReport()?.build, 3)
    assert.equal(room.lastReport()?.runs?.build, 1)
    assert.equal((await room.installs.state('app')).installed?.build, 1)
    assert.equal(room.installs.steps.at(-1), 'switch 3')
  })

  it('stops when owners pause, in the middle of a fetch, and goes on', async () => {
    await using room = await UpdateRoom.open()
    const gate = Promise.withResolvers<void>()
    room.lets = gate.promise
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 fetching')
    room.rollout = { ...room.rollout, paused: ['app'] }
    await room.updates.look()
    await room.says('app 1 paused ROLLOUT_PAUSED')
    gate.resolve()
    room.rollout = { ...room.rollout, paused: [] }
    await room.updates.look()
    await room.says('app 1 healthy')
    assert.deepEqual(room.fetched, ['app 1', 'app 1'])
  })

  it('follows a pin to an older build', async () => {
    await using room = await UpdateRoom.open()
    await room.start()
    await room.publish(releaseOf(1), releaseOf(2))
    await room.says('app 2 healthy')
    room.rollout = { ...room.rollout, pins: [{ name: 'app', build: 1 }] }
    await room.updates.look()
    await room.says('app 1 healthy')
  })

  it('gives up what is no longer the newest', async () => {
    await using room = await UpdateRoom.open()
    room.lets = Promise.withResolvers<void>().promise
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 fetching')
    room.lets = Promise.resolve()
    await room.publish(releaseOf(2))
    await room.says('app 2 healthy')
    assert.deepEqual(room.installs.steps, ['stage 2', 'switch 2'])
  })

  it('waits while the clock of the device is not set', async () => {
    await using room = await UpdateRoom.open()
    room.quality = 'unset'
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 waiting TUF_CLOCK')
    assert.equal(room.updates.progress()[0]?.why, 'the clock of this device is not set')
    assert.deepEqual(room.fetched, [])
    room.quality = 'synced'
    await room.clock.advance(60_000)
    await room.says('app 1 healthy')
  })
})

describe('a clock that leapt far ahead', () => {
  it('holds up what is new, in words that name it', async () => {
    await using room = await UpdateRoom.open()
    room.quality = 'unset'
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 waiting TUF_CLOCK')
    await room.clock.advance(40 * 24 * HOUR_MS)
    room.quality = 'synced'
    await room.clock.advance(60_000)
    await room.says('app 1 waiting TUF_EXPIRED')
    assert.match(
      room.updates.progress()[0]?.why ?? '',
      /timestamp .* expired, or the clock .* says 20/,
    )
    assert.deepEqual(room.installs.steps, [])
  })
})

describe('an update that is cut short', () => {
  it('goes on with the switch where it was staged', async () => {
    await using room = await UpdateRoom.open()
    await room.start()
    const gate = Promise.withResolvers<void>()
    room.installs.gate = gate.promise
    await room.publish(releaseOf(1))
    await room.says('app 1 installed')
    const killed = room.kill()
    gate.resolve()
    await killed
    await room.start()
    await room.says('app 1 healthy')
    assert.deepEqual(room.installs.steps, ['stage 1', 'switch 1', 'switch 1'])
    assert.deepEqual(room.fetched, [])
  })

  it('fetches nothing twice', async () => {
    const other = deviceOf('other')
    await using room = await UpdateRoom.open({ devices: [SELF.key, other.key] })
    await room.start()
    const release = secondOf(other.key, 1)
    await room.publish(release)
    await room.says('app 1 waiting ROLLOUT_RING')
    await room.kill()
    await room.start()
    room.hear(other, release, 'healthy')
    await room.clock.advance(2 * HOUR_MS)
    await room.says('app 1 healthy')
    assert.deepEqual(room.fetched, [])
  })

  it('says newer things than before, also where the file of reports is lost or damaged', async () => {
    await using room = await UpdateRoom.open()
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 healthy')
    const before = room.lastReport()?.seq ?? 0
    await room.kill()
    const file = join(room.folder, 'state', 'reports.json')
    assert.ok(existsSync(file))
    await writeFile(file, '[“')
    await room.clock.advance(1)
    await room.start()
    await room.publish(releaseOf(2))
    await room.says('app 2 healthy')
    assert.ok((room.lastReport()?.seq ?? 0) > before)
  })
})

describe('a release that cannot be installed', () => {
  it('is refused with its code, and not tried again for what it is', async () => {
    await using room = await UpdateRoom.open()
    room.installs.broken.set(1, 'INSTALL_ARCHIVE')
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 refused INSTALL_ARCHIVE')
    await room.clock.advance(HOUR_MS)
    assert.deepEqual(room.installs.steps, ['stage 1'])
  })

  it('is tried again where there was no room, later', async () => {
    await using room = await UpdateRoom.open()
    room.installs.broken.set(1, 'INSTALL_NO_SPACE')
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 refused INSTALL_NO_SPACE')
    room.installs.broken.clear()
    await room.clock.advance(10 * 60_000)
    await room.says('app 1 healthy')
  })
})

describe('a channel', () => {
  it('whose newest word is not signed by its key is an attack, and installs nothing', async () => {
    await using room = await UpdateRoom.open()
    await room.start()
    room.channel.list({ add: [releaseOf(1).bytes] })
    const good = room.channel.get('timestamp.json')
    room.channel.putTimestamp({ key: key('timestamp') })
    await room.tell()
    await room.attacked('TUF_SIGNATURE')
    room.channel.files.set('timestamp.json', good)
    await room.tell()
    await room.clock.advance(HOUR_MS / 12)
    assert.deepEqual(room.said, [], 'it is not asked for a while')
    await room.clock.advance(HOUR_MS)
    await room.says('app 1 healthy')
  })

  it('whose number was signed twice is seen by devices that hold one each', async () => {
    await using room = await UpdateRoom.open()
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 healthy')
    const version = room.channel.version.timestamp
    // The neighbour says that it has a newer one, and then that it has not.
    room.channel.version.timestamp = version + 1
    await room.tell()
    room.channel.putSnapshot()
    room.channel.putTimestamp({ version })
    room.channel.version.timestamp = version
    await room.tell()
    await room.attacked('TUF_FORK')
    const before = room.asked.length
    await room.tell()
    await room.clock.advance(1000)
    assert.equal(room.asked.length, before, 'it is compared once')
  })

  it('is asked once more, not for ever, where it says that it has newer files than it has', async () => {
    await using room = await UpdateRoom.open()
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 healthy')
    room.channel.version.timestamp += 5
    const before = room.asked.length
    await room.tell()
    await room.clock.advance(1000)
    assert.ok(room.asked.length - before < 10, `${room.asked.length - before} files`)
  })
})
