import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import pino from 'pino'

import { startLeases, type LeaseService } from '../../node/services/leases.ts'
import { LEASE, Word, type Done } from '../../protocols/lease/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { MemoryNetwork, type MemoryMesh } from '../helpers/memory-mesh.ts'
import { deviceOf } from '../helpers/telemetry.ts'

const NAME = 'broker'
const lamp = deviceOf('lamp').key
const never = new AbortController().signal

interface Gateway {
  readonly key: Uint8Array
  readonly mesh: MemoryMesh
  readonly service: LeaseService
  readonly heard: Done[]
}

/** Gateways of one home, with a clock that stands still. */
function room() {
  const clock = virtualClock()
  const network = new MemoryNetwork(clock)
  const members: Uint8Array[] = []
  const log = pino({ level: 'silent' })
  return {
    clock,
    network,
    members,
    gateway: async (name: string, rows: () => Done['rows'] = () => []): Promise<Gateway> => {
      const { key } = deviceOf(name)
      const mesh = network.join(key)
      const others = (): Uint8Array[] => members.filter((one) => !equalBytes(one, key))
      const service = await startLeases({ mesh, others, done: rows, clock, log }, never)
      const heard: Done[] = []
      service.events.on('done', (done) => heard.push(done))
      service.want([NAME])
      return { key, mesh, service, heard }
    },
  }
}

/** Two that are connected, after one of them holds it: that one, and the other. */
async function two(rows: () => Done['rows'] = () => []) {
  const { clock, network, members, gateway } = room()
  members.push(deviceOf('attic').key, deviceOf('cellar').key)
  const pair = [await gateway('attic', rows), await gateway('cellar', rows)]
  network.connect(members[0] as Uint8Array, members[1] as Uint8Array)
  await clock.advance(7000)
  const [holder, ...more] = pair.filter(({ service }) => service.holds(NAME))
  const other = pair.find((one) => one !== holder)
  assert.ok(holder !== undefined && other !== undefined && more.length === 0)
  return { clock, network, members, holder, other }
}

describe('leases over the mesh', { timeout: 20_000 }, () => {
  it('are held by one of two, and both know which', async () => {
    const { holder, other } = await two()
    for (const { service } of [holder, other]) {
      assert.equal(toHex(service.holder(NAME) ?? lamp), toHex(holder.key))
    }
  })

  it('are held at once by the only gateway', async () => {
    const { gateway } = room()
    const { service } = await gateway('attic')
    assert.equal(service.holds(NAME), true)
  })

  it('pass to the other when the holder is cut off, and back to one when it is there again', async () => {
    const { clock, network, holder, other } = await two()
    network.disconnect(holder.key, other.key)
    await clock.advance(7000)
    assert.deepEqual([holder.service.holds(NAME), other.service.holds(NAME)], [true, true])
    network.connect(holder.key, other.key)
    await clock.advance(1000)
    assert.deepEqual([holder.service.holds(NAME), other.service.holds(NAME)], [false, true])
  })

  it('pass within two seconds when the holder stops in order', async () => {
    const { clock, holder, other } = await two()
    let changes = 0
    other.service.events.on('change', () => changes++)
    const stopping = holder.service[Symbol.asyncDispose]()
    await clock.advance(100)
    await stopping
    await clock.advance(2000)
    assert.equal(other.service.holds(NAME), true)
    assert.ok(changes > 0)
  })

  it('speak again over a stream that was broken', async () => {
    const { clock, network, holder, other } = await two()
    network.breakStreams(holder.key, other.key)
    await clock.advance(20_000)
    assert.deepEqual([holder.service.holds(NAME), other.service.holds(NAME)], [true, false])
  })

  it('bring what the holder is through with to those who wait, and take it from no one else', async () => {
    const rows = [{ device: lamp, seq: 7 }]
    const { clock, holder, other } = await two(() => rows)
    assert.deepEqual(other.heard, [{ name: NAME, rows }])
    await using stream = await other.mesh.open(holder.key, LEASE, never)
    await stream.channel.send(Word, { done: { name: NAME, rows: [{ device: lamp, seq: 99 }] } })
    await clock.advance(10)
    assert.deepEqual(holder.heard, [])
  })

  it('turn away a member that is no gateway, and one that is none any more', async () => {
    const { clock, network, members, holder, other } = await two()
    const sensor = network.join(lamp)
    network.connect(lamp, holder.key)
    await using stream = await sensor.open(holder.key, LEASE, never)
    await stream.channel.send(Word, { stands: [{ name: NAME, stand: 'holds', term: 99 }] })
    await clock.advance(10)
    assert.equal(stream.signal.aborted, true)
    assert.equal(holder.service.holds(NAME), true)
    members.splice(0)
    for (const { service } of [holder, other]) service.refresh()
    assert.equal(other.service.holds(NAME), true)
    await clock.advance(1000)
    assert.equal(network.streams, 0)
  })
})
