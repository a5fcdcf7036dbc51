import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { virtualClock } from '../helpers/clock.ts'
import { ExchangeRoom, type TestDevice } from '../helpers/exchange.ts'
import { deviceOf } from '../helpers/telemetry.ts'

/** No time passes in these: what waits for a timer hangs. */
const LIMIT = { timeout: 10_000 }

function meets({ exchange }: TestDevice): Promise<void> {
  return new Promise((resolve) => {
    exchange.events.on('offer', () => resolve())
    if (exchange.offers().length > 0) resolve()
  })
}

async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await setImmediate()
}

describe('a peer that could not take part', () => {
  it('is tried at once when who may take part has changed', LIMIT, async () => {
    await using room = new ExchangeRoom()
    const clock = virtualClock()
    let isLetIn = false
    const a = await room.device('a', { clock, allows: () => isLetIn })
    const b = await room.device('b', { clock })
    room.network.connect(a.key, b.key)
    await settled()
    assert.deepEqual([...a.exchange.offers(), ...b.exchange.offers()], [])
    isLetIn = true
    a.exchange.again()
    await Promise.all([meets(a), meets(b)])
  })

  it('is met at once when it is ready later than its connection', LIMIT, async () => {
    await using room = new ExchangeRoom()
    const clock = virtualClock()
    const a = await room.device('a', { clock })
    const { key } = deviceOf('b')
    room.network.join(key)
    room.network.connect(a.key, key)
    await settled()
    const b = await room.device('b', { clock })
    await Promise.all([meets(a), meets(b)])
  })

  it('waits its time where it was there and broke off', LIMIT, async () => {
    await using room = new ExchangeRoom()
    const clock = virtualClock()
    const [a, b] = [await room.device('a', { clock }), await room.device('b', { clock })]
    room.network.connect(a.key, b.key)
    await Promise.all([meets(a), meets(b)])
    room.network.breakStreams(a.key, b.key)
    await settled()
    assert.deepEqual([...a.exchange.offers(), ...b.exchange.offers()], [])
    await clock.advance(1_000)
    await Promise.all([meets(a), meets(b)])
  })
})
