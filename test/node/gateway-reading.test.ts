import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import pino from 'pino'

import { systemClock } from '../../node/env.ts'
import {
  startTelemetry,
  type ExtractTaker,
  type Guests,
  type Telemetry,
  type TelemetryDeps,
} from '../../node/services/telemetry/index.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { migration, openPackStore, type PackStore } from '../../node/storage/packs.ts'
import type { Signer } from '../../protocols/identity/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { MemoryNetwork } from '../helpers/memory-mesh.ts'
import { CONTEXT, deviceOf, HOME, reading } from '../helpers/telemetry.ts'
import { timeOf } from '../helpers/time.ts'

const [lamp, door, hub, bridge] = ['lamp', 'door', 'hub', 'bridge'].map(deviceOf) as [
  Signer,
  Signer,
  Signer,
  Signer,
]
const members = [lamp, door, hub, bridge].map(({ key }) => ({ key, publishes: true }))

interface Rights {
  /** Devices whose whole log the bridge may have. */
  whole: readonly Uint8Array[]
  /** Sensors that it may have of all others. */
  sensors: readonly string[]
}

function home() {
  const clock = virtualClock(Date.now())
  const network = new MemoryNetwork(clock)
  const parts: Telemetry[] = []
  const rights: Rights = { whole: [], sensors: [] }
  const isBridge = (key: Uint8Array): boolean => equalBytes(key, bridge.key)
  const guests: Guests = {
    has: () => false,
    isGateway: isBridge,
    grant: () =>
      rights.sensors.length === 0
        ? undefined
        : { allows: (name) => rights.sensors.includes(name), sinceMs: 0 },
  }
  const reads = (reader: Uint8Array, device: Uint8Array): boolean =>
    !isBridge(reader) || rights.whole.some((one) => equalBytes(one, device))
  return {
    network,
    rights,
    async start(signer: Signer): Promise<Telemetry & { readonly store: PackStore }> {
      const store = openPackStore(openDatabase(':memory:', [migration]))
      const deps: TelemetryDeps = {
        mesh: network.join(signer.key),
        store,
        signer,
        verifier: CONTEXT.verifier,
        home: HOME,
        members,
        follows: (device) => reads(signer.key, device),
        mayRead: reads,
        guests,
        epoch: () => 0,
        time: timeOf(systemClock),
        sources: [],
        settings: { enabled: ['*'], intervalMs: 1000, retentionMs: 1e12, maxBytes: 1e9 },
        clock,
        log: pino({ level: 'silent' }),
      }
      const part = await startTelemetry(deps, new AbortController().signal)
      parts.push(part)
      return { ...part, store }
    },
    async [Symbol.asyncDispose]() {
      for (const part of parts) await part[Symbol.asyncDispose]()
    },
  }
}

const both = (value: number) => [
  reading({ sensor: 'load', value, atMs: Date.now() }),
  reading({ sensor: 'temperature', unit: 'Cel', value, atMs: Date.now() }),
]

/** Takes extracts, and tells when so many have come. */
function taker(wants: (device: Uint8Array) => boolean) {
  const taken: string[] = []
  let told = (): void => undefined
  const one: ExtractTaker = {
    wants,
    from: () => 1,
    async take(_device, readings) {
      taken.push(...readings.map(({ sensor, value, seq }) => `${seq} ${sensor} ${String(value)}`))
      told()
    },
  }
  return {
    ...one,
    taken,
    until: (count: number) =>
      new Promise<void>((resolve) => {
        told = () => taken.length >= count && resolve()
        told()
      }),
  }
}

function kept({ events }: Telemetry, count: number): Promise<void> {
  let left = count
  return new Promise((resolve) => {
    const off = events.on('pack', () => {
      if (--left > 0) return
      off()
      resolve()
    })
  })
}

describe('what a gateway gets of readings', () => {
  it('is the signed log, byte for byte, where it may have all sensors of a device', async () => {
    await using house = home()
    const [a, b] = [await house.start(lamp), await house.start(bridge)]
    house.rights.whole = [lamp.key]
    a.publish(both(1), { now: true })
    a.publish(both(2), { now: true })
    const got = kept(b, 2)
    house.network.connect(lamp.key, bridge.key)
    await got
    assert.deepEqual(b.store.read(lamp.key, 1, 9), a.store.read(lamp.key, 1, 9))
  })

  it('is the log of one device from another that keeps it, of which it may have nothing', async () => {
    await using house = home()
    const [a, h, b] = [await house.start(lamp), await house.start(hub), await house.start(bridge)]
    house.rights.whole = [lamp.key]
    const atHub = kept(h, 1)
    house.network.connect(lamp.key, hub.key)
    a.publish(both(1), { now: true })
    await atHub
    house.network.disconnect(lamp.key, hub.key)
    const got = kept(b, 1)
    house.network.connect(hub.key, bridge.key)
    await got
    assert.deepEqual(
      b.store.heads().map(({ seq }) => seq),
      [1],
    )
    assert.equal(b.store.head(hub.key), 0)
  })

  it('is an extract from the device itself where it may have some sensors, and no pack', async () => {
    await using house = home()
    const [a, b] = [await house.start(lamp), await house.start(bridge)]
    house.rights.sensors = ['temperature']
    a.publish(both(1), { now: true })
    house.network.connect(lamp.key, bridge.key)
    const stop = new AbortController()
    const { taken, until, ...wish } = taker((device) => equalBytes(device, lamp.key))
    const following = b.followExtracts(wish, stop.signal)
    await until(1)
    a.publish(both(2), { now: true })
    await until(2)
    assert.deepEqual(taken, ['1 temperature 1', '2 temperature 2'])
    assert.equal(b.store.head(lamp.key), 0)
    stop.abort()
    await following
  })

  it('ends at once when the rights end, for logs and for extracts', async () => {
    await using house = home()
    const [a, d, b] = [await house.start(lamp), await house.start(door), await house.start(bridge)]
    house.rights.whole = [lamp.key]
    house.rights.sensors = ['temperature']
    const got = kept(b, 1)
    house.network.connect(lamp.key, bridge.key)
    house.network.connect(door.key, bridge.key)
    const stop = new AbortController()
    const { taken, until, ...wish } = taker((device) => equalBytes(device, door.key))
    const following = b.followExtracts(wish, stop.signal)
    for (const one of [a, d]) one.publish(both(1), { now: true })
    await Promise.all([got, until(1)])
    house.rights.whole = []
    house.rights.sensors = []
    for (const one of [a, d]) one.publish(both(2), { now: true })
    // The bridge heard of nothing yet: it is the holders that give no more.
    house.rights.whole = [hub.key]
    const h = await house.start(hub)
    const fromHub = kept(b, 1)
    house.network.connect(hub.key, bridge.key)
    h.publish(both(1), { now: true })
    await fromHub
    assert.equal(b.store.head(lamp.key), 1)
    assert.deepEqual(taken, ['1 temperature 1'])
    stop.abort()
    await following
  })

  it('is nothing where it asks for extracts without any right', async () => {
    await using house = home()
    const [a, b] = [await house.start(lamp), await house.start(bridge)]
    a.publish(both(1), { now: true })
    house.network.connect(lamp.key, bridge.key)
    const stop = new AbortController()
    const { taken, ...wish } = taker(() => true)
    const following = b.followExtracts(wish, stop.signal)
    house.rights.whole = [door.key]
    const d = await house.start(door)
    const got = kept(b, 1)
    house.network.connect(door.key, bridge.key)
    b.setMembers(members)
    d.publish(both(1), { now: true })
    await got
    assert.deepEqual([taken, b.store.head(lamp.key)], [[], 0])
    stop.abort()
    await following
  })
})
