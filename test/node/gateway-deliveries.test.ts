import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { DeviceBase } from '../../node/device/base.ts'
import { deliver } from '../../node/device/gateway-deliveries.ts'
import type { GatewayCursor } from '../../node/device/gateway.ts'
import type { Home } from '../../node/device/home.ts'
import { createEmitter } from '../../node/events.ts'
import type { TelemetryEvents } from '../../node/services/telemetry/index.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { migration, openPackStore } from '../../node/storage/packs.ts'
import { peerIdOf } from '../../protocols/identity/index.ts'
import { withGatewayRights, type Device } from '../../protocols/members/index.ts'
import type { Pack } from '../../protocols/telemetry/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { chainOf, deviceOf, START_MS } from '../helpers/telemetry.ts'

const lamp = deviceOf('lamp')
const bridge = deviceOf('bridge')
const LAMP = peerIdOf(lamp.key)

/** A gateway that may have all of the lamp, over a store of its own that the test fills. */
function gateway() {
  const clock = virtualClock(START_MS)
  const packs = openPackStore(openDatabase(':memory:', [migration]))
  const events = createEmitter<TelemetryEvents>((error) => assert.ifError(error))
  const state = {
    policy: withGatewayRights(new Uint8Array(), bridge.key, { caps: ['read:*'] }),
    progress: { packs: 9, of: 9 },
  }
  const self = { key: bridge.key, name: 'bridge', role: 'gateway', quarantined: false } as Device
  const device = { key: lamp.key, name: 'lamp', role: 'sensor', quarantined: false } as Device
  const home = {
    mesh: { key: bridge.key },
    members: { self, state, active: () => [self, device], events: { on: () => () => undefined } },
    telemetry: {
      events,
      progress: () => state.progress,
      lastSeq: (key: Uint8Array) => packs.head(key),
      followExtracts: async () => undefined,
    },
  } as unknown as Home
  const base = { packs, clock, signer: bridge } as unknown as DeviceBase
  const stop = new AbortController()
  return {
    clock,
    state,
    stop,
    come: (...some: readonly Pack[]): void => {
      packs.insert(some.map((pack) => ({ pack, receivedAtMs: START_MS })))
      for (const pack of some) events.emit('pack', { pack, times: [], flags: 0 })
    },
    /** The next deliveries in words. */
    reader: (cursor: GatewayCursor = new Map()) => {
      const all = deliver({ base, home: () => home }, cursor, stop.signal)
      return async (count: number): Promise<string[]> => {
        const words: string[] = []
        while (words.length < count) {
          const { value, done } = await all.next()
          if (done === true) break
          words.push(
            value.kind === 'gap'
              ? `gap ${value.from}..${value.to}`
              : `${value.seq}${value.live ? ' live' : ''}`,
          )
        }
        return words
      }
    },
  }
}

const [one, two, three, four, five, six] = chainOf(lamp, 6) as [Pack, Pack, Pack, Pack, Pack, Pack]

describe('what is handed out of a log', () => {
  it('goes on after the cursor, in order, and then as it comes', async () => {
    const { come, reader, stop } = gateway()
    come(one, two, three)
    const next = reader(new Map([[LAMP, 1]]))
    assert.deepEqual(await next(2), ['2', '3 live'])
    const later = next(1)
    come(four)
    assert.deepEqual(await later, ['4 live'])
    stop.abort()
    assert.deepEqual(await next(1), [])
  })

  it('names what is missing, and brings it when it comes after all', async () => {
    const { come, reader, stop } = gateway()
    come(one, four)
    const next = reader()
    assert.deepEqual(await next(3), ['1', 'gap 2..3', '4 live'])
    const later = next(3)
    come(five, two, three)
    const rest = await later
    assert.deepEqual(rest, ['2', '3', '5 live'])
    come(six)
    assert.deepEqual(await next(1), ['6 live'])
    stop.abort()
  })

  it('waits with what is new while older packs are on their way', async () => {
    const { come, reader, state, stop } = gateway()
    state.progress = { packs: 2, of: 4 }
    come(one, four)
    const next = reader()
    assert.deepEqual(await next(1), ['1'])
    const later = next(3)
    come(two, three)
    assert.deepEqual(await later, ['2', '3', '4 live'])
    stop.abort()
  })

  it('passes nothing over that may not be handed out at that moment', async () => {
    const { come, reader, state, stop } = gateway()
    come(one, two, three)
    const next = reader()
    assert.deepEqual(await next(1), ['1'])
    const signed = state.policy
    state.policy = new Uint8Array()
    const later = next(2)
    await new Promise((resolve) => setImmediate(resolve))
    state.policy = signed
    come(four)
    assert.deepEqual(await later, ['2', '3'])
    stop.abort()
  })

  it('ends with the rights, and the cursor stands where it was', async () => {
    const { clock, come, reader, state, stop } = gateway()
    come(one)
    const next = reader()
    assert.deepEqual(await next(1), ['1 live'])
    const signed = state.policy
    state.policy = new Uint8Array()
    const later = next(2)
    come(two)
    await clock.advance(60_000)
    state.policy = signed
    come(three)
    assert.deepEqual(await later, ['2', '3 live'])
    stop.abort()
  })
})
