import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createPace } from '../../node/services/update/pace.ts'
import { quietAt } from '../../node/services/update/quiet.ts'
import { parseWindow } from '../../protocols/update/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { releaseOf, UpdateRoom } from '../helpers/updates.ts'

const never = new AbortController().signal
const MINUTE_MS = 60_000
const EVENING = [parseWindow('18:00-23:00')]
const at = (hours: number, minutes = 0): number => hours * 60 + minutes

/** A device with quiet hours in the evening, at a time of day that the test sets. */
function evening(minute: () => number) {
  const facts = {
    hardware: ['pi'],
    arch: ['arm64'],
    busy: () => false,
    minute,
    quietHours: EVENING,
    memoryBytes: () => 0,
  }
  return UpdateRoom.open({ deps: { facts } })
}

async function isOver(promise: Promise<void>): Promise<boolean> {
  const open = Symbol('open')
  return (await Promise.race([promise, Promise.resolve(open)])) !== open
}

describe('quiet hours', () => {
  it('begin and end to the minute, also over midnight, and are looked at every ten minutes', () => {
    const night = [parseWindow('22:00-06:00'), parseWindow('12:00-12:05')]
    assert.deepEqual(quietAt(night, at(21, 59)), { now: false, againMs: MINUTE_MS })
    assert.deepEqual(quietAt(night, at(22)), { now: true, againMs: 10 * MINUTE_MS })
    assert.deepEqual(quietAt(night, at(5, 57)), { now: true, againMs: 3 * MINUTE_MS })
    assert.deepEqual(quietAt(night, at(6)), { now: false, againMs: 10 * MINUTE_MS })
    assert.deepEqual(quietAt(night, at(12, 4)), { now: true, againMs: MINUTE_MS })
    assert.deepEqual(quietAt([], at(3)), { now: false, againMs: 10 * MINUTE_MS })
  })

  it('keep a device from fetching, and it goes on after them', async () => {
    let minute = at(18)
    await using room = await evening(() => minute)
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 waiting UPDATE_QUIET')
    assert.deepEqual(room.fetched, [])
    minute = at(23)
    await room.clock.advance(10 * MINUTE_MS)
    await room.says('app 1 healthy')
  })

  it('end a fetch that runs, and it goes on after them', async () => {
    let minute = at(17, 59)
    await using room = await evening(() => minute)
    const gate = Promise.withResolvers<void>()
    room.lets = gate.promise
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 fetching')
    minute = at(18)
    await room.clock.advance(MINUTE_MS)
    await room.says('app 1 waiting UPDATE_QUIET')
    gate.resolve()
    minute = at(23)
    await room.clock.advance(10 * MINUTE_MS)
    await room.says('app 1 healthy')
    assert.deepEqual(room.fetched, ['app 1', 'app 1'])
  })
})

describe('what may leave', () => {
  it('is so much in a second, and nothing while that is nothing', async () => {
    const clock = virtualClock(0)
    let limit: number | undefined = 1_000
    const pace = createPace(clock, () => limit)
    await pace.wait(2_000, never)
    const second = pace.wait(500, never)
    await clock.advance(1_999)
    assert.equal(await isOver(second), false)
    await clock.advance(1)
    await second
    limit = 0
    const still = pace.wait(1, never)
    await clock.advance(60 * MINUTE_MS)
    assert.equal(await isOver(still), false)
    limit = undefined
    await clock.advance(10_000)
    await still
  })
})

describe('a device that has a moment', () => {
  it('is settled when all that a neighbour made known is here', async () => {
    await using room = await UpdateRoom.open()
    const gate = Promise.withResolvers<void>()
    room.lets = gate.promise
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 fetching')
    const settled = room.updates.settled(never)
    await room.clock.advance(1_999)
    assert.equal(await isOver(settled), false)
    gate.resolve()
    await settled
    await room.says('app 1 healthy')
  })

  it('is settled when nothing comes for two seconds, and when it is told', async () => {
    await using room = await UpdateRoom.open()
    room.lets = new Promise(() => undefined)
    await room.start()
    await room.publish(releaseOf(1))
    await room.says('app 1 fetching')
    const settled = room.updates.settled(never)
    await room.clock.advance(2_000)
    await settled
    const stop = new AbortController()
    const other = room.updates.settled(stop.signal)
    stop.abort()
    await other
  })
})
