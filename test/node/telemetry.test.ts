import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { systemClock } from '../../node/env.ts'
import {
  type Telemetry,
  type TelemetryEvents,
  type TelemetryMember,
} from '../../node/services/telemetry/index.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { migration, openPackStore } from '../../node/storage/packs.ts'
import type { Clock } from '../../protocols/env.ts'
import type { Signer } from '../../protocols/identity/index.ts'
import { BOUNDS, FLAGS, openPack, type Pack } from '../../protocols/telemetry/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { chainOf, CONTEXT, deviceOf, manyReadings, packOf, reading } from '../helpers/telemetry.ts'
import { memoryStore, telemetryHome } from '../helpers/telemetry-home.ts'
import { timeOf } from '../helpers/time.ts'

const [hub, sensor, relay] = [deviceOf('hub'), deviceOf('sensor'), deviceOf('relay')]
const members: TelemetryMember[] = [hub, sensor, relay].map(({ key }) => ({ key, publishes: true }))

function home(clock: Clock = systemClock) {
  const settings = { enabled: ['*'], intervalMs: 1000, retentionMs: 1e12, maxBytes: 1e9 }
  return telemetryHome(clock, { members, settings })
}

/** The next `count` events of one kind that `wanted` accepts. */
function next<K extends 'pack' | 'gap' | 'fork' | 'refused'>(
  { events }: Telemetry,
  name: K,
  count = 1,
  wanted: (event: TelemetryEvents[K]) => boolean = () => true,
): Promise<TelemetryEvents[K][]> {
  return new Promise((resolve) => {
    const seen: TelemetryEvents[K][] = []
    const off = events.on(name, (event) => {
      if (!wanted(event)) return
      seen.push(event)
      if (seen.length < count) return
      off()
      resolve(seen)
    })
  })
}

const now = (value = 1) => [reading({ value, atMs: Date.now() })]
const by =
  ({ key }: Signer) =>
  ({ pack }: { readonly pack: Pack }) =>
    equalBytes(pack.device, key)

describe('telemetry between devices', () => {
  it('brings a reading to a follower, which has it on disk when it says so', async () => {
    await using house = home()
    const [a, b] = [await house.start(sensor), await house.start(hub)]
    house.network.connect(sensor.key, hub.key)
    const stop = new AbortController()
    const watching = b.watch({ device: sensor.key }, stop.signal)[Symbol.asyncIterator]()
    const first = watching.next()
    a.publish(now(21), { now: true })
    const { value } = await first
    assert.ok(value)
    assert.deepEqual([value.sensor, value.value, value.seq, value.verified], ['load', 21, 1, true])
    assert.equal(b.lastSeq(sensor.key), 1)
    stop.abort()
    assert.equal((await watching.next()).done, true)
  })

  it('goes on where the log ends after streams and connections break', async () => {
    const clock = virtualClock(Date.now())
    await using house = home(clock)
    const [a, b] = [await house.start(sensor), await house.start(hub)]
    house.network.connect(sensor.key, hub.key)
    const seen: number[] = []
    b.events.on('pack', ({ pack }) => seen.push(pack.seq))
    const arrived = async (count: number): Promise<void> => {
      if (seen.length < count) await next(b, 'pack', count - seen.length)
    }
    a.publish(now(), { now: true })
    await arrived(1)
    house.network.breakStreams(sensor.key, hub.key)
    a.publish(now(), { now: true })
    await clock.advance(1000)
    await arrived(2)
    house.network.disconnect(sensor.key, hub.key)
    for (let i = 0; i < 3; i++) a.publish(now(), { now: true })
    house.network.connect(sensor.key, hub.key)
    await arrived(5)
    assert.deepEqual(seen, [1, 2, 3, 4, 5])
  })

  it('fetches the log of an absent device from whoever kept it, and lets go when it is back', async () => {
    await using house = home()
    const kept = memoryStore()
    kept.insert(chainOf(sensor, 3).map((pack) => ({ pack, receivedAtMs: Date.now() })))
    await house.start(relay, { store: kept })
    const b = await house.start(hub)
    const got = next(b, 'pack', 3, by(sensor))
    house.network.connect(relay.key, hub.key)
    assert.deepEqual(
      (await got).map(({ pack }) => pack.seq),
      [1, 2, 3],
    )
    for (const { bytes } of kept.read(sensor.key, 1, 9)) openPack(bytes, CONTEXT, sensor.key)
  })

  it('names a gap that the holder cannot fill, and fills it from one who can', async () => {
    await using house = home()
    const [pruned, whole] = [memoryStore(), memoryStore()]
    const packs = chainOf(sensor, 5).map((pack) => ({ pack, receivedAtMs: Date.now() }))
    pruned.insert(packs.slice(3))
    whole.insert(packs)
    await house.start(sensor, { store: pruned })
    await house.start(relay, { store: whole })
    const b = await house.start(hub)
    const gap = next(b, 'gap')
    const first = next(b, 'pack', 2, by(sensor))
    house.network.connect(sensor.key, hub.key)
    assert.deepEqual(await gap, [{ device: sensor.key, from: 1, to: 3 }])
    await first
    const late = next(b, 'pack', 3, by(sensor))
    house.network.disconnect(sensor.key, hub.key)
    house.network.connect(relay.key, hub.key)
    await late
    assert.deepEqual(b.gaps(sensor.key), [])
  })

  it('alarms on a device with two histories, and shows nothing more of it', async () => {
    await using house = home()
    const twin = memoryStore()
    const b = await house.start(hub)
    const forked = memoryStore()
    forked.insert([{ pack: packOf(sensor, { readings: now(5) }), receivedAtMs: Date.now() }])
    twin.insert(chainOf(sensor, 2).map((pack) => ({ pack, receivedAtMs: Date.now() })))
    await house.start(relay, { store: twin })
    const a = await house.start(sensor, { store: forked })
    const first = next(b, 'pack')
    house.network.connect(sensor.key, hub.key)
    await first
    house.network.disconnect(sensor.key, hub.key)
    const fork = next(b, 'fork')
    house.network.connect(relay.key, hub.key)
    assert.deepEqual(await fork, [{ device: sensor.key, seq: 1 }])
    assert.equal(b.forks(sensor.key).length, 1)
    let shown = 0
    b.events.on('reading', () => shown++)
    house.network.disconnect(relay.key, hub.key)
    const after = next(b, 'pack', 1, by(sensor))
    a.publish(now(), { now: true })
    house.network.connect(sensor.key, hub.key)
    const [kept] = await after
    assert.equal(kept?.flags, FLAGS.quarantined)
    assert.equal(shown, 0)
  })

  it('refuses what is not by a publisher, or was made after a removal', async () => {
    await using house = home()
    const b = await house.start(hub, {
      members: [
        { key: sensor.key, publishes: false, lastSeq: 1 },
        { key: relay.key, publishes: true },
      ],
    })
    const kept = memoryStore()
    kept.insert(chainOf(sensor, 2).map((pack) => ({ pack, receivedAtMs: Date.now() })))
    await house.start(relay, { store: kept })
    const refused = next(b, 'refused')
    house.network.connect(relay.key, hub.key)
    assert.deepEqual(await refused, [{ device: sensor.key, code: 'TELEMETRY_AFTER_REMOVAL' }])
    assert.equal(b.lastSeq(sensor.key), 1)
  })

  it('gives a log to those only who may read it', async () => {
    await using house = home()
    let allowed = false
    const a = await house.start(sensor, { mayRead: () => allowed })
    const b = await house.start(hub)
    house.network.connect(sensor.key, hub.key)
    a.publish(now(), { now: true })
    const got = next(b, 'pack')
    house.network.disconnect(sensor.key, hub.key)
    assert.equal(b.lastSeq(sensor.key), 0)
    allowed = true
    house.network.connect(sensor.key, hub.key)
    await got
  })

  it('writes a flood in few transactions, and loses none of it', async () => {
    await using house = home()
    const from = memoryStore()
    from.insert(chainOf(sensor, 200).map((pack) => ({ pack, receivedAtMs: Date.now() })))
    await house.start(sensor, { store: from })
    const store = memoryStore()
    let writes = 0
    const insert = store.insert.bind(store)
    store.insert = (batch) => {
      writes++
      return insert(batch)
    }
    const b = await house.start(hub, { store })
    const got = next(b, 'pack', 200)
    house.network.connect(sensor.key, hub.key)
    await got
    assert.equal(b.lastSeq(sensor.key), 200)
    assert.ok(writes < 100, `${writes} transactions`)
  })

  it('asks again for what the disk refused', async () => {
    const clock = virtualClock(Date.now())
    await using house = home(clock)
    const from = memoryStore()
    from.insert(chainOf(sensor, 3).map((pack) => ({ pack, receivedAtMs: Date.now() })))
    await house.start(sensor, { store: from })
    const store = memoryStore()
    const insert = store.insert.bind(store)
    const refused = new Promise<void>((resolve) => {
      store.insert = () => {
        store.insert = insert
        resolve()
        throw new Error('disk full')
      }
    })
    const b = await house.start(hub, { store })
    const got = next(b, 'pack', 3)
    house.network.connect(sensor.key, hub.key)
    await refused
    await clock.advance(2000)
    assert.deepEqual(
      (await got).map(({ pack }) => pack.seq),
      [1, 2, 3],
    )
  })
})

describe('the own log of a device', () => {
  it('makes a pack when the first reading has waited ten seconds, or when it is full', async () => {
    const clock = virtualClock(Date.now())
    await using house = home(clock)
    const a = await house.start(sensor)
    a.publish(now())
    await clock.advance(BOUNDS.maxPackAgeMs - 1)
    assert.equal(a.lastSeq(sensor.key), 0)
    await clock.advance(1)
    assert.equal(a.lastSeq(sensor.key), 1)
    a.publish(manyReadings(2 * BOUNDS.maxReadings + 1))
    assert.equal(a.lastSeq(sensor.key), 3)
    const long = { sensor: 'text', value: 'x'.repeat(256), atMs: clock.now() }
    a.publish(Array.from({ length: 200 }, () => long))
    assert.ok(a.lastSeq(sensor.key) > 4)
    assert.equal(a.flushNow(), true)
    const rows = a.history({ device: sensor.key, sensor: 'text', sinceMs: 0, untilMs: 1e15 })
    assert.equal(rows.length, 200)
  })

  it('leaves out a reading that no pack can carry, and takes its neighbours', async () => {
    await using house = home()
    const a = await house.start(sensor)
    a.publish([...now(), reading({ value: Number.NaN }), ...now()], { now: true })
    const rows = a.history({ device: sensor.key, sinceMs: 0, untilMs: 1e15 })
    assert.equal(rows.length, 2)
  })

  it('goes on with its numbers, after a restart, under a new boot id where the machine was restarted too', async () => {
    const store = memoryStore()
    for (const boot of ['one', 'one', 'two']) {
      await using house = home()
      const a = await house.start(sensor, { store, time: timeOf(systemClock, { boot }) })
      a.publish(now())
    }
    const packs = store.read(sensor.key, 1, 9).map(({ bytes }) => openPack(bytes, CONTEXT))
    assert.deepEqual(
      packs.map(({ seq }) => seq),
      [1, 2, 3],
    )
    assert.deepEqual(packs[0]?.bootId, packs[1]?.bootId)
    assert.notDeepEqual(packs[1]?.bootId, packs[2]?.bootId)
    assert.deepEqual(packs[1]?.prev, packs[0]?.hash)
  })

  it('keeps readings in memory while the disk is full, the newest of them, and then writes them', async () => {
    const clock = virtualClock(Date.now())
    const db = openDatabase(':memory:', [migration])
    await using house = home(clock)
    const a = await house.start(sensor, { store: openPackStore(db) })
    db.exec('PRAGMA max_page_count = 1')
    for (let i = 0; i < 20; i++) a.publish(manyReadings(BOUNDS.maxReadings))
    assert.equal(a.flushNow(), false)
    assert.equal(a.lastSeq(sensor.key), 0)
    db.exec('PRAGMA max_page_count = 100000')
    await clock.advance(BOUNDS.maxPackAgeMs)
    assert.equal(a.lastSeq(sensor.key), 16)
  })

  it('samples what is on, and keeps to its limits of age', async () => {
    const clock = virtualClock(Date.now())
    await using house = home(clock)
    let value = 0
    const counter = {
      id: 'counter',
      describe: () => [{ name: 'counter', unit: 'count', description: 'counts' }],
      read: () => Promise.resolve([{ sensor: 'counter', unit: 'count', value: ++value }]),
    }
    const settings = { enabled: ['counter'], intervalMs: 1, retentionMs: 60_000, maxBytes: 1e9 }
    const a = await house.start(sensor, { sources: [counter], settings })
    await clock.advance(30_000)
    assert.equal(value, 31)
    assert.equal(a.sensors()[0]?.on, true)
    const first = (): unknown =>
      a
        .history({ device: sensor.key, sinceMs: 0, untilMs: 1e15 })
        .find(({ kind }) => kind === 'reading')
    const [before] = [first()]
    await clock.advance(120_000)
    assert.notDeepEqual(first(), before)
  })
})
