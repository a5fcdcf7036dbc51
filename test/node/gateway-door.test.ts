import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'

import pino from 'pino'

import { gatewayOf } from '../../node/device/gateway-door.ts'
import type { GatewayCursor, GatewayDelivery, GatewayPack } from '../../node/device/gateway.ts'
import {
  eventOf,
  folders,
  loopbackOf,
  makeHome,
  startDevice,
  type TestDevice,
} from '../helpers/device.ts'

const dirs = folders()
after(() => dirs[Symbol.asyncDispose]())

const SENSORS = ['air', 'door'].map((name) => `[sensor.${name}]\ntype = "push"\n`).join('\n')
const never = new AbortController().signal

/** An owner with two sensors and one thing to set, and a gateway that it added. */
async function pair(stack: AsyncDisposableStack) {
  const [dir, other] = [await dirs.make(), await dirs.make()]
  const value = join(dir, 'level')
  await writeFile(value, '1')
  const level = `[property.level]\ntype = "file"\npath = "${value}"\nvalue = "number"\n`
  await writeFile(join(dir, 'config.toml'), `${SENSORS}\n${level}`)
  const owner = stack.use(await startDevice(dir, { 'telemetry.max_wait': '1s' }))
  await makeHome(owner)
  const peers = { 'mesh.peers': await loopbackOf(owner) }
  const bridge = stack.use(await startDevice(other, peers))
  const { qr } = await bridge.view.openPairing({})
  await owner.view.addDevice({ qr, role: 'gateway', name: 'bridge' }, never)
  const { fingerprint, id } = await owner.view.device('kitchen')
  return { owner, bridge, fingerprint, id, otherDir: other, peers }
}

function doorOf({ node }: TestDevice) {
  const stop = new AbortController()
  const door = gatewayOf(node, { version: '1.0.0', log: pino({ level: 'silent' }) }, stop.signal)
  return { door, [Symbol.dispose]: () => stop.abort(new Error('over')) }
}

const both = (owner: TestDevice, value: number): Promise<void> =>
  owner.view.push([
    { sensor: 'door', value },
    { sensor: 'air', value },
  ])

/** What is delivered until `enough`; `act` is repeated meanwhile. */
async function taken(
  door: ReturnType<typeof gatewayOf>,
  cursor: GatewayCursor,
  enough: (all: readonly GatewayPack[]) => boolean,
  act: () => Promise<void> = async () => undefined,
): Promise<GatewayPack[]> {
  const stop = new AbortController()
  const found: GatewayPack[] = []
  const again = setInterval(() => void act(), 300)
  try {
    for await (const one of door.deliveries(cursor, stop.signal)) {
      assert.equal(one.kind, 'pack')
      found.push(one)
      if (enough(found)) break
    }
  } finally {
    clearInterval(again)
    stop.abort()
  }
  return found
}

const sensorsIn = (packs: readonly GatewayPack[]): string[] => [
  ...new Set(packs.flatMap(({ readings }) => readings.map(({ sensor }) => sensor))),
]

describe('the door of a gateway', { timeout: 90_000 }, () => {
  it('hands out what an owner signed: parts as extracts, the whole as signed packs, once each', async () => {
    await using stack = new AsyncDisposableStack()
    const { owner, bridge, fingerprint, id } = await pair(stack)
    using one = doorOf(bridge)
    const { door } = one
    assert.deepEqual(door.policy(), { caps: [] })
    await both(owner, 1)
    await assert.rejects(owner.view.signGatewayPolicy('bridge', ['read:Not A Sensor']), {
      code: 'NODE_USAGE',
    })
    await assert.rejects(owner.view.signGatewayPolicy(id, ['read:*']), { code: 'NODE_USAGE' })
    await assert.rejects(bridge.view.signGatewayPolicy('bridge', ['read:*']), {
      code: 'NODE_DENIED',
    })

    const cap = `read:${fingerprint}/air`
    const heard: (readonly string[])[] = []
    door.events.on('policy', ({ caps }) => heard.push(caps))
    const signed = await owner.view.signGatewayPolicy('bridge', [cap])
    assert.deepEqual([signed.caps, signed.wider, signed.taken], [[cap], [cap], []])
    const told = await eventOf(owner, 'gateway.policy')
    assert.deepEqual((told.data as { wider?: unknown }).wider, [cap])
    await eventOf(bridge, 'gateway.policy')
    assert.deepEqual(door.policy(), { caps: [cap] })
    // At once, not when it is next looked at.
    assert.deepEqual(heard, [[cap]])

    let value = 2
    const parts = await taken(
      door,
      new Map(),
      (all) => all.length === 3,
      () => both(owner, value++),
    )
    assert.deepEqual(sensorsIn(parts), ['air'])
    for (const { bytes, readings, deviceId, name } of parts) {
      assert.deepEqual([bytes, readings[0]?.verified], [undefined, false])
      assert.deepEqual([deviceId, name], [id, 'kitchen'])
    }
    const last = parts.at(-1)?.seq ?? 0

    await owner.view.signGatewayPolicy('bridge', [`read:${fingerprint}/*`])
    await eventOf(bridge, 'gateway.policy', ({ data }) =>
      String((data as { caps?: unknown }).caps).endsWith('/*'),
    )
    const whole = await taken(
      door,
      new Map([[id, last]]),
      (all) => sensorsIn(all).length === 2 && all.length >= 3,
      () => both(owner, value++),
    )
    const numbers = whole.map(({ seq }) => seq)
    assert.deepEqual(
      numbers,
      numbers.map((_, i) => last + 1 + i),
    )
    for (const { bytes, seq, readings } of whole) {
      assert.deepEqual(
        bytes,
        owner.node.base.packs.read(owner.node.base.signer.key, seq, 1)[0]?.bytes,
      )
      assert.ok(readings.every((reading) => reading.verified && reading.seq === seq))
    }
    const resumed = await taken(door, new Map([[id, last + 1]]), (all) => all.length === 1)
    assert.equal(resumed[0]?.seq, last + 2)
  })

  it('hands out nothing more once an owner took it back, or removed the gateway', async () => {
    await using stack = new AsyncDisposableStack()
    const { owner, bridge, fingerprint } = await pair(stack)
    using one = doorOf(bridge)
    const { door } = one
    await owner.view.signGatewayPolicy('bridge', [`read:${fingerprint}/*`])
    await taken(
      door,
      new Map(),
      (all) => all.length === 1,
      () => both(owner, 1),
    )
    const stop = new AbortController()
    const late: GatewayDelivery[] = []
    const reading = (async () => {
      for await (const delivery of door.deliveries(new Map(), stop.signal)) {
        const { caps } = door.policy()
        if (caps.length === 0) late.push(delivery)
      }
    })()
    const { taken: gone } = await owner.view.signGatewayPolicy('bridge', [])
    assert.deepEqual(gone, [`read:${fingerprint}/*`])
    const nothing = ({ data }: { readonly data: unknown }): boolean =>
      String((data as { caps?: unknown }).caps) === ''
    await eventOf(bridge, 'gateway.policy', nothing)
    const head = bridge.node.base.packs.head(owner.node.base.signer.key)
    const removed = eventOf(bridge, 'member.removed')
    await both(owner, 9)
    await owner.view.remove('bridge', { reason: undefined })
    await removed
    assert.deepEqual(door.policy(), { caps: [] })
    assert.equal(bridge.node.base.packs.head(owner.node.base.signer.key), head)
    stop.abort()
    await reading
    assert.deepEqual(late, [])
  })

  it('calls what an owner signed, and nothing else', async () => {
    await using stack = new AsyncDisposableStack()
    const { owner, bridge, fingerprint } = await pair(stack)
    using one = doorOf(bridge)
    const { door } = one
    const set = (input: number) =>
      door.call(
        { device: 'kitchen', verb: 'write', name: 'level', input, origin: 'gateway:broker' },
        never,
      )
    // What it is not offered it does not even see.
    const refused = new Set<unknown>(['NODE_DENIED', 'NODE_NOT_FOUND'])
    await assert.rejects(set(5), ({ code }: { readonly code?: unknown }) => refused.has(code))
    await owner.view.signGatewayPolicy('bridge', [`write:${fingerprint}/level;v=0..50`])
    const { receipt } = await set(5)
    assert.equal(receipt?.status, 'done')
    await assert.rejects(set(51), { code: 'NODE_DENIED' })
    const { properties } = await door.describe('kitchen', never)
    assert.deepEqual(Object.keys(properties), ['level'])
    const [why] = await owner.view.why('kitchen', { name: 'level', limit: 9 }, never)
    assert.equal(why?.by.name, 'bridge')
    const { rule, sensor, seq, value, device } = why.cause ?? {}
    assert.deepEqual([rule, sensor, seq, value], ['broker', 'gateway:broker', 0, 5])
    assert.equal(device?.name, 'bridge')
    const unclear = {
      device: 'kitchen',
      verb: 'write',
      name: 'level',
      input: 1,
      origin: 'a b',
    } as const
    await assert.rejects(door.call(unclear, never), { code: 'NODE_USAGE' })
  })

  it('signs records that only it, for this home, as this kind, opens again', async () => {
    await using stack = new AsyncDisposableStack()
    const { bridge, owner } = await pair(stack)
    using one = doorOf(bridge)
    using other = doorOf(owner)
    const { door } = one
    const payload = Uint8Array.of(1, 2, 3)
    const sealed = door.sign('ledger', payload)
    assert.deepEqual(door.opened('ledger', sealed), payload)
    assert.throws(() => door.opened('gap', sealed))
    assert.throws(() => other.door.opened('ledger', sealed))
    const broken = sealed.slice()
    broken[broken.length - 1] = (broken.at(-1) ?? 0) ^ 1
    assert.throws(() => door.opened('ledger', broken))
    assert.deepEqual(
      door.devices().map(({ name, role, self }) => `${name} ${role} ${self}`),
      ['bridge gateway true', 'kitchen owner false'],
    )
  })
})
