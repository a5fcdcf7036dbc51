import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { describe, it } from 'node:test'

import {
  type Guests,
  type Telemetry,
  type TelemetryEvents,
  type TelemetryMember,
} from '../../node/services/telemetry/index.ts'
import { systemClock } from '../../node/env.ts'
import type { Signer } from '../../protocols/identity/index.ts'
import { Follow, PackFrame, TELEMETRY, type ExtractGrant } from '../../protocols/telemetry/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { chainOf, deviceOf, reading } from '../helpers/telemetry.ts'
import { memoryStore, telemetryHome } from '../helpers/telemetry-home.ts'
import { timeOf } from '../helpers/time.ts'

const [sensor, hub, guest] = [deviceOf('sensor'), deviceOf('hub'), deviceOf('guest')]
const members: TelemetryMember[] = [sensor, hub].map(({ key }) => ({ key, publishes: true }))

/** A home with one guest whose sensors the test names. */
function home() {
  const clock = virtualClock(Date.now())
  const state: { isGuest: boolean; sensors: string[] | undefined } = {
    isGuest: true,
    sensors: ['temperature'],
  }
  const guests: Guests = {
    has: (key) => state.isGuest && equalBytes(key, guest.key),
    isGateway: () => false,
    grant(): ExtractGrant | undefined {
      const { sensors } = state
      if (sensors === undefined) return undefined
      return { allows: (name) => sensors.includes(name), sinceMs: 0 }
    },
  }
  const reads = (key: Uint8Array): boolean => !guests.has(key)
  const all = telemetryHome(clock, {
    members,
    mayRead: (peer) => reads(peer),
    guests,
    time: timeOf(systemClock),
    settings: { enabled: ['*'], intervalMs: 1000, retentionMs: 1e12, maxBytes: 1e9 },
  })
  return {
    ...all,
    clock,
    state,
    start: (signer: Signer, store = memoryStore()): Promise<Telemetry> =>
      all.start(signer, { store, follows: () => reads(signer.key) }),
  }
}

const ALL = { sinceMs: 0, untilMs: 1e15 }

function next<K extends 'reading' | 'pack'>(
  { events }: Telemetry,
  name: K,
  wanted: (event: TelemetryEvents[K]) => boolean = () => true,
): Promise<TelemetryEvents[K]> {
  return new Promise((resolve) => {
    const off = events.on(name, (event) => {
      if (!wanted(event)) return
      off()
      resolve(event)
    })
  })
}

const both = (value: number) => [
  reading({ sensor: 'load', value, atMs: Date.now() }),
  reading({ sensor: 'temperature', unit: 'Cel', value, atMs: Date.now() }),
]

describe('a guest in a home', () => {
  it('sees what its caps allow as it comes, marked as told, and nothing else', async () => {
    await using house = home()
    const [a, g] = [await house.start(sensor), await house.start(guest)]
    const seen: TelemetryEvents['reading'][] = []
    g.events.on('reading', (one) => seen.push(one))
    a.publish(both(1), { now: true })
    const first = next(g, 'reading')
    house.network.connect(sensor.key, guest.key)
    await first
    const second = next(g, 'reading')
    a.publish(both(2), { now: true })
    await second
    assert.deepEqual(
      seen.map((one) => [one.sensor, one.value, one.seq, one.verified, one.source]),
      [
        ['temperature', 1, 1, false, 'extract'],
        ['temperature', 2, 2, false, 'extract'],
      ],
    )
  })

  it('can look back at what it was told, in readings and in summaries', async () => {
    await using house = home()
    const [a, g] = [await house.start(sensor), await house.start(guest)]
    house.network.connect(sensor.key, guest.key)
    for (const value of [1, 2]) {
      const got = next(g, 'reading')
      a.publish(both(value), { now: true })
      await got
    }
    const rows = g.history({ device: sensor.key, ...ALL })
    assert.deepEqual(
      rows.map((row) => row.kind === 'reading' && [row.sensor, row.value, row.source]),
      [
        ['temperature', 1, 'extract'],
        ['temperature', 2, 'extract'],
      ],
    )
    const hours = g.history({ device: sensor.key, ...ALL, everyMs: 10 * 86_400_000 })
    const [{ kind, ...sums } = { kind: 'none' }] = hours
    assert.equal(kind, 'bucket')
    const { min, mean, max, last, count, source } = sums as Record<string, unknown>
    assert.deepEqual([min, mean, max, last, count, source], [1, 1.5, 2, 2, 2, 'extract'])
    assert.equal(g.history({ device: sensor.key, ...ALL, limit: 1 }).length, 1)
    assert.deepEqual(g.history({ device: sensor.key, sensor: 'load', ...ALL }), [])
  })

  it('keeps no pack, and so serves, exports and counts nothing of it', async () => {
    await using house = home()
    const store = memoryStore()
    const [a, g] = [await house.start(sensor), await house.start(guest, store)]
    house.network.connect(sensor.key, guest.key)
    const got = next(g, 'reading')
    a.publish(both(1), { now: true })
    await got
    assert.deepEqual([store.heads(), store.read(sensor.key, 1, 9)], [[], []])
    assert.deepEqual([g.heads(), g.lastSeq(sensor.key), g.gaps(sensor.key)], [[], 0, []])
    assert.deepEqual(store.history(sensor.key, ALL), [])
    // A hub that reaches the guest alone gets nothing of the sensor from it.
    const b = await house.start(hub)
    house.network.connect(hub.key, guest.key)
    await quiet()
    assert.equal(b.lastSeq(sensor.key), 0)
  })

  it('gets nothing of a device from another one that has its log', async () => {
    await using house = home()
    const kept = memoryStore()
    kept.insert(chainOf(sensor, 3).map((pack) => ({ pack, receivedAtMs: Date.now() })))
    const b = await house.start(hub, kept)
    const g = await house.start(guest)
    const seen: string[] = []
    g.events.on('reading', ({ device }) => seen.push(toHex(device)))
    house.state.sensors = ['load']
    house.network.connect(hub.key, guest.key)
    const own = next(g, 'reading')
    b.publish(both(1), { now: true })
    await own
    assert.deepEqual(seen, [toHex(hub.key)])
    assert.deepEqual(g.history({ device: sensor.key, ...ALL }), [])
  })

  it('is held to other caps from the next pack on, and to none once its grant has ended', async () => {
    await using house = home()
    const [a, g] = [await house.start(sensor), await house.start(guest)]
    house.network.connect(sensor.key, guest.key)
    const told: string[] = []
    g.events.on('reading', (one) => told.push(`${one.sensor} ${String(one.value)}`))
    const step = async (value: number): Promise<void> => {
      a.publish(both(value), { now: true })
      await quiet()
    }
    await step(1)
    house.state.sensors = ['load']
    await step(2)
    house.state.sensors = undefined
    await step(3)
    house.state.sensors = ['temperature']
    // Refused, it asks again after a while, and gets what it may have now.
    await house.clock.advance(60_000)
    await quiet()
    assert.deepEqual(told.slice(0, 2), ['temperature 1', 'load 2'])
    assert.equal(told.at(-1), 'temperature 3')
    assert.ok(!told.includes('load 1') && !told.includes('load 3'))
  })

  it('becomes a member in the middle of it all, and then has the log itself', async () => {
    await using house = home()
    const [a, g] = [await house.start(sensor), await house.start(guest)]
    house.network.connect(sensor.key, guest.key)
    const got = next(g, 'reading')
    a.publish(both(1), { now: true })
    await got
    house.state.isGuest = false
    const pack = next(g, 'pack')
    for (const part of [a, g]) part.setMembers(members)
    await house.clock.advance(60_000)
    assert.equal((await pack).pack.seq, 1)
    const rows = g.history({ device: sensor.key, ...ALL })
    assert.deepEqual(
      rows.map((row) => row.kind === 'reading' && [row.sensor, row.source]),
      [
        ['load', undefined],
        ['temperature', undefined],
      ],
    )
  })

  it('that asks for signed logs is cut off', async () => {
    await using house = home()
    await house.start(sensor)
    await house.start(hub)
    const mesh = house.network.join(guest.key)
    for (const [holder, wanted] of [
      [sensor, hub],
      [hub, sensor],
    ] as const) {
      house.network.connect(holder.key, guest.key)
      const signal = new AbortController().signal
      await using stream = await mesh.open(holder.key, TELEMETRY, signal)
      await stream.channel.send(Follow, { logs: [{ device: wanted.key, from: 1 }] })
      await assert.rejects(stream.channel.next(PackFrame))
    }
  })
})

/** Resolves when everything that can run has run. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 300; i++) await setImmediate()
}
