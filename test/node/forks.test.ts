import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { systemClock } from '../../node/env.ts'
import type { Telemetry, TelemetryMember } from '../../node/services/telemetry/index.ts'
import type { PackStore } from '../../node/storage/packs.ts'
import type { Signer } from '../../protocols/identity/index.ts'
import { openProof } from '../../protocols/telemetry/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { chainOf, CONTEXT, deviceOf, packOf, reading } from '../helpers/telemetry.ts'
import { memoryStore, telemetryHome } from '../helpers/telemetry-home.ts'

const [clone, first, second, third] = ['clone', 'first', 'second', 'third'].map(deviceOf) as [
  Signer,
  Signer,
  Signer,
  Signer,
]
const members: TelemetryMember[] = [clone, first, second, third].map(({ key }) => ({
  key,
  publishes: true,
}))

const [one, two] = chainOf(clone, 2)
assert.ok(one !== undefined && two !== undefined)
const twin = packOf(clone, { readings: [reading({ value: 99 })] })

function holding(...packs: Parameters<typeof openProof>[0][number][]): PackStore {
  const store = memoryStore()
  const opened = packs.map((bytes) => [one, two, twin].find((pack) => pack?.bytes === bytes))
  store.insert(
    opened.flatMap((pack) => (pack === undefined ? [] : [{ pack, receivedAtMs: Date.now() }])),
  )
  return store
}

function house() {
  const settings = { enabled: [], intervalMs: 1000, retentionMs: 1e15, maxBytes: 1e9 }
  return telemetryHome(systemClock, { members, settings })
}

function forkSeen({ events }: Telemetry): Promise<{ device: Uint8Array; seq: number }> {
  return new Promise((resolve) => {
    const off = events.on('fork', (event) => (off(), resolve(event)))
  })
}

describe('proof of two histories', () => {
  it('is passed from member to member, with neither the log nor the device at hand', async () => {
    await using home = house()
    const stores = [holding(one.bytes, twin.bytes), memoryStore(), memoryStore()] as const
    await home.start(first, { store: stores[0] })
    const b = await home.start(second, { store: stores[1] })
    const c = await home.start(third, { store: stores[2] })
    const [seenByB, seenByC] = [forkSeen(b), forkSeen(c)]
    home.network.connect(first.key, second.key)
    assert.deepEqual(await seenByB, { device: clone.key, seq: 1 })
    home.network.connect(second.key, third.key)
    assert.deepEqual(await seenByC, { device: clone.key, seq: 1 })
    assert.ok(stores.every((store) => store.isQuarantined(clone.key)))
    const [proof] = stores[2].forks(clone.key)
    assert.ok(proof?.kept !== undefined)
    openProof([proof.kept, proof.other], CONTEXT, clone.key)
  })

  it('is passed on at once to those who follow already', async () => {
    await using home = house()
    const store = holding(one.bytes)
    const [a, b] = [await home.start(first, { store }), await home.start(second)]
    const kept = new Promise((resolve) => {
      const off = b.events.on('pack', (event) => (off(), resolve(event)))
    })
    home.network.connect(first.key, second.key)
    await kept
    const seen = forkSeen(b)
    store.insert([{ pack: twin, receivedAtMs: Date.now() }])
    assert.ok(equalBytes((await seen).device, clone.key))
    assert.ok(a.isQuarantined(clone.key) && b.isQuarantined(clone.key))
  })

  it('alarms once, and not again for what an owner has looked at', () => {
    const store = holding(one.bytes)
    const proof = openProof([twin.bytes, one.bytes], CONTEXT, clone.key)
    assert.equal(store.addProof(proof, 1), true)
    assert.equal(store.addProof(proof, 2), false)
    assert.equal(store.proofs().length, 1)
    store.release(clone.key)
    assert.equal(store.proofs().length, 0)
    assert.equal(store.addProof(proof, 3), false)
    const [again] = store.insert([{ pack: twin, receivedAtMs: 4 }])
    assert.equal(again?.verdict === 'fork' && again.fresh, false)
    assert.equal(store.isQuarantined(clone.key), false)
    const other = packOf(clone, { readings: [reading({ value: 100 })] })
    assert.equal(store.addProof(openProof([one.bytes, other.bytes], CONTEXT, clone.key), 5), true)
    assert.equal(store.isQuarantined(clone.key), true)
  })

  it('is two packs that no honest device makes both, and nothing else', () => {
    const stray = packOf(clone, { seq: 2, prev: twin.hash })
    for (const packs of [
      [one.bytes, twin.bytes],
      [one.bytes, stray.bytes],
      [stray.bytes, two.bytes],
    ] as const) {
      assert.equal(openProof(packs, CONTEXT, clone.key)[0].seq <= 2, true)
    }
    const far = packOf(clone, { seq: 3, prev: one.hash })
    for (const packs of [
      [one.bytes, one.bytes],
      [one.bytes, two.bytes],
      [one.bytes, far.bytes],
    ] as const) {
      assert.throws(() => openProof(packs, CONTEXT, clone.key), { code: 'TELEMETRY_NO_PROOF' })
    }
    const foreign = packOf(first, {})
    assert.throws(() => openProof([one.bytes, foreign.bytes], CONTEXT, clone.key), {
      code: 'TELEMETRY_WRONG_DEVICE',
    })
  })
})
