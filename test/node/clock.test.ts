import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'
import pino from 'pino'

import { createPublisher } from '../../node/services/telemetry/publisher.ts'
import type { PackStore } from '../../node/storage/packs.ts'
import { OLDEST_PLAUSIBLE_MS, type Timekeeper } from '../../node/timekeeper.ts'
import { FLAGS, openPack, type Pack } from '../../protocols/telemetry/index.ts'
import { virtualClock, type VirtualClock } from '../helpers/clock.ts'
import { CONTEXT, deviceOf, HOME, reading, START_MS } from '../helpers/telemetry.ts'
import { memoryStore, startLogs } from '../helpers/telemetry-home.ts'
import { timeOf, type TimeOptions } from '../helpers/time.ts'

const own = deviceOf('own')
const YEAR_MS = 365 * 86_400_000
const LONG_AGO_MS = Date.UTC(1970, 0, 1, 0, 1)
const all = { sinceMs: 0, untilMs: 8e15 }

/** A device that publishes into `store`, one pack for each reading. */
function device(clock: VirtualClock, store = memoryStore(), options: TimeOptions = {}) {
  const time = timeOf(clock, { synced: () => false, ...options })
  const packs: Pack[] = []
  const publisher = createPublisher(
    {
      store,
      signer: own,
      home: HOME,
      epoch: () => 0,
      time,
      clock,
      log: pino({ level: 'silent' }),
    },
    (pack) => packs.push(pack),
  )
  return {
    store,
    time,
    packs,
    measure: (value: number): void => {
      publisher.add([reading({ value, atMs: clock.now() })])
      assert.equal(publisher.flush(), true)
    },
  }
}

function timesIn(store: PackStore): unknown[] {
  return store
    .history(own.key, all)
    .map((row) => (row.kind === 'reading' ? [row.value, row.atMs, row.flags] : row.kind))
}

describe('trust in the wall clock', () => {
  const qualities = (clock: VirtualClock, time: Timekeeper, walls: readonly number[]): string[] =>
    walls.map((ms) => {
      clock.setWall(ms)
      return time.quality()
    })

  it('is none below the age of this software, or below what was signed', () => {
    const clock = virtualClock()
    const time = timeOf(clock, { synced: () => false, newestSignedMs: () => START_MS })
    const walls = [LONG_AGO_MS, OLDEST_PLAUSIBLE_MS - 1, START_MS - 601_000, START_MS]
    assert.deepEqual(qualities(clock, time, walls), ['unset', 'unset', 'unset', 'unsynced'])
    assert.equal(time.floorMs(), START_MS - 600_000)
  })

  it('does not come back by waiting, only by setting the clock', async () => {
    const clock = virtualClock(START_MS - 700_000)
    const time = timeOf(clock, { synced: () => false, newestSignedMs: () => START_MS })
    assert.equal(time.quality(), 'unset')
    await clock.advance(800_000)
    assert.equal(time.quality(), 'unset')
    clock.setWall(START_MS + YEAR_MS)
    assert.equal(time.quality(), 'unsynced')
  })

  it('is full where a time source set it, unless that is older than this software', () => {
    const clock = virtualClock()
    const time = timeOf(clock, { newestSignedMs: () => START_MS + YEAR_MS })
    assert.deepEqual(qualities(clock, time, [START_MS, LONG_AGO_MS]), ['synced', 'unset'])
  })
})

describe('readings from before the clock was set', () => {
  it('wait, and get their times when it is', async () => {
    const clock = virtualClock(LONG_AGO_MS)
    const { measure, store, time } = device(clock)
    measure(1)
    await clock.advance(90_000)
    measure(2)
    assert.deepEqual(timesIn(store), [])
    assert.deepEqual(store.unplaced(own.key), { packs: 2, from: 1, to: 2 })
    await clock.advance(10_000)
    clock.setWall(START_MS)
    assert.equal(time.quality(), 'unsynced')
    measure(3)
    const placed = FLAGS.placed | FLAGS.clockUnsynced
    assert.deepEqual(timesIn(store), [
      [1, START_MS - 100_000, placed],
      [2, START_MS - 10_000, placed],
      [3, START_MS, FLAGS.clockUnsynced],
    ])
    assert.equal(store.unplaced(own.key), undefined)
  })

  it('keep their distance to the sealing while they wait for their pack', async () => {
    const clock = virtualClock(LONG_AGO_MS)
    const packs: Pack[] = []
    const time = timeOf(clock, { synced: () => false })
    const deps = { store: memoryStore(), signer: own, home: HOME, epoch: () => 0, time, clock }
    const publisher = createPublisher({ ...deps, log: pino({ level: 'silent' }) }, (pack) =>
      packs.push(pack),
    )
    publisher.add([reading({ atMs: clock.now() })])
    await clock.advance(4000)
    publisher.add([reading({ atMs: clock.now() })])
    clock.setWall(START_MS)
    publisher.flush()
    assert.deepEqual(
      packs.map(({ readings }) => readings.map(({ atMs }) => atMs)),
      [[START_MS - 4000, START_MS]],
    )
  })

  it('are placed by a later process of the same boot, and not by another boot', async () => {
    const clock = virtualClock(LONG_AGO_MS)
    const store = memoryStore()
    device(clock, store).measure(1)
    clock.setWall(START_MS)
    device(clock, store, { boot: 'next' }).measure(2)
    assert.deepEqual(store.unplaced(own.key), { packs: 1, from: 1, to: 1 })
    await clock.advance(5000)
    device(clock, store).measure(3)
    assert.deepEqual(
      timesIn(store).map((row) => (row as number[]).slice(0, 2)),
      [
        [1, START_MS],
        [2, START_MS],
        [3, START_MS + 5000],
      ],
    )
  })

  it('come to the same times on every holder, in whatever order the packs came', async () => {
    const clock = virtualClock(LONG_AGO_MS)
    const source = device(clock)
    for (let i = 1; i <= 4; i++) {
      source.measure(i)
      await clock.advance(1234)
    }
    clock.setWall(START_MS)
    source.measure(5)
    clock.setWall(LONG_AGO_MS)
    source.measure(6)
    clock.setWall(START_MS + 60_000)
    source.measure(7)
    const expected = timesIn(source.store)
    assert.equal(expected.length, 7)
    const received = fc.integer({ min: START_MS, max: START_MS + YEAR_MS })
    fc.assert(
      fc.property(
        fc.shuffledSubarray(source.packs, { minLength: 7 }),
        received,
        fc.boolean(),
        (packs, receivedAtMs, clockUnset) => {
          const store = memoryStore()
          for (const pack of packs) store.insert([{ pack, receivedAtMs, clockUnset }])
          const flagless = (rows: unknown[]): unknown =>
            rows.map((row) => (row as number[]).slice(0, 2))
          assert.deepEqual(flagless(timesIn(store)), flagless(expected))
          assert.equal(store.unplaced(own.key), undefined)
        },
      ),
      { numRuns: 40 },
    )
  })

  it('are placed after a restart too, many of them a few at a time', async () => {
    const clock = virtualClock(LONG_AGO_MS)
    const { measure, store } = device(clock)
    for (let i = 0; i < 200; i++) measure(i)
    clock.setWall(START_MS)
    measure(200)
    store.file()
    assert.equal(store.unplaced(own.key)?.packs, 200 - 64)
    for (let i = 201; i < 204; i++) {
      measure(i)
      store.file()
    }
    assert.equal(store.unplaced(own.key), undefined)
    assert.equal(timesIn(store).length, 204)
  })
})

describe('a wall clock that jumps by years', () => {
  it('never changes the order of the log, and leaves an honest mark, whatever it does', async () => {
    const jump = fc.integer({ min: -60, max: 60 }).map((years) => START_MS + years * YEAR_MS)
    await fc.assert(
      fc.asyncProperty(fc.array(jump, { minLength: 2, maxLength: 8 }), async (walls) => {
        const clock = virtualClock()
        const { measure, packs, time } = device(clock)
        const hub = memoryStore()
        for (const [i, wall] of walls.entries()) {
          clock.setWall(wall)
          await clock.advance(1000)
          measure(i)
          const pack = packs[i]
          assert.ok(pack)
          assert.equal(pack.seq, i + 1)
          assert.equal(pack.clock === 'unset', time.quality() === 'unset')
          openPack(pack.bytes, CONTEXT)
          const [kept] = hub.insert([{ pack, receivedAtMs: START_MS }])
          assert.ok(kept?.verdict === 'accept')
          const told = wall + 1000
          const believable = told < START_MS + 300_000 && told > START_MS - 400 * 86_400_000
          const marked = FLAGS.clockImplausible | FLAGS.unplaced | FLAGS.placed
          if (!believable) assert.notEqual(kept.flags & marked, 0)
        }
        assert.deepEqual(hub.gaps(own.key), [])
        const monos = packs.map(({ mono }) => mono)
        assert.deepEqual(
          monos,
          monos.toSorted((a, b) => a - b),
        )
      }),
      { numRuns: 60 },
    )
  })

  it('does not move what was placed before', async () => {
    const clock = virtualClock(LONG_AGO_MS)
    const { measure, store } = device(clock)
    measure(1)
    clock.setWall(START_MS)
    measure(2)
    const before = timesIn(store)
    for (const wall of [START_MS + 20 * YEAR_MS, LONG_AGO_MS, START_MS]) {
      clock.setWall(wall)
      measure(3)
    }
    assert.deepEqual(timesIn(store).slice(0, 2), before)
  })

  it('takes nothing with it by age, unless a time source says so', async () => {
    const clock = virtualClock()
    const store = memoryStore()
    let synced = false
    const time = timeOf(clock, { synced: () => synced })
    await using service = await startLogs(own, clock, {
      store,
      follows: () => false,
      mayRead: () => false,
      time,
      settings: { enabled: [], intervalMs: 10_000, retentionMs: YEAR_MS, maxBytes: 1e9 },
    })
    const publish = (): void => service.publish([reading({ atMs: clock.now() })], { now: true })
    for (let i = 0; i < 3; i++) publish()
    for (const wall of [START_MS + 30 * YEAR_MS, LONG_AGO_MS, START_MS + 50 * YEAR_MS]) {
      clock.setWall(wall)
      publish()
      await clock.advance(180_000)
      assert.equal(store.bounds(own.key)?.first, 1)
    }
    synced = true
    await clock.advance(180_000)
    assert.equal(store.bounds(own.key)?.first, 1, 'a leap is believed after a day')
    await clock.advance(86_400_000)
    assert.equal(store.bounds(own.key)?.first, 6)
  })

  it('is not counted as a receiver’s time while that is not set', () => {
    const clock = virtualClock(START_MS)
    const { measure, packs } = device(clock, undefined, { synced: () => true })
    measure(1)
    const hub = memoryStore()
    for (const pack of packs) hub.insert([{ pack, receivedAtMs: LONG_AGO_MS, clockUnset: true }])
    assert.deepEqual(timesIn(hub), [[1, START_MS, 0]])
  })
})
