import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { describe, it } from 'node:test'

import { systemClock } from '../../node/env.ts'
import { createEmitter } from '../../node/events.ts'
import type { MeshEvents } from '../../node/mesh/mesh.ts'
import { createBackfill, NEAR_PACKS } from '../../node/services/telemetry/backfill.ts'
import type { TelemetryMesh } from '../../node/services/telemetry/follower.ts'
import type { Telemetry } from '../../node/services/telemetry/index.ts'
import type { PackStore } from '../../node/storage/packs.ts'
import {
  NO_PREV,
  serveLogs,
  TELEMETRY,
  type LogEntry,
  type Pack,
} from '../../protocols/telemetry/index.ts'
import { openChannel, type ByteStream, type Channel } from '../../protocols/wire/index.ts'
import { boundedPair, type BoundedStream } from '../helpers/bounded-stream.ts'
import { chainOf, deviceOf, manyReadings, packOf } from '../helpers/telemetry.ts'
import { memoryStore, startLogs } from '../helpers/telemetry-home.ts'

const [sensor, hub] = [deviceOf('sensor'), deviceOf('hub')]
const members = [sensor, hub].map(({ key }) => ({ key, publishes: true }))
/** As much as a connection may swallow before it says that it is slow. */
const WINDOW_BYTES = 1024 * 1024

function storeOf(packs: readonly Pack[]): PackStore {
  const store = memoryStore()
  store.insert(packs.map((pack) => ({ pack, receivedAtMs: Date.now() })))
  return store
}

/** A slow link to a holder, which sees nothing of that until a lot is on the way. */
function linkTo(holder: PackStore) {
  const { signal } = new AbortController()
  const events = createEmitter<MeshEvents>((error) => {
    throw error
  })
  const streams: BoundedStream[] = []
  const mesh: TelemetryMesh = {
    key: hub.key,
    events,
    serve: async () => undefined,
    peers: () => [{ key: sensor.key, address: '', direction: 'outbound', sinceMs: 0 }],
    async open() {
      const [near, far] = boundedPair(WINDOW_BYTES, 1)
      streams.push(near)
      const open = (end: unknown): Channel =>
        openChannel(end as ByteStream, TELEMETRY, systemClock, signal)
      const deps = { source: holder, mayRead: () => true }
      serveLogs(open(far), deps, signal).catch(() => undefined)
      return {
        channel: open(near),
        signal,
        abort: (error) => near.abort(error),
        [Symbol.asyncDispose]: async () => undefined,
      }
    },
  }
  return { mesh, streams }
}

function startHub(mesh: TelemetryMesh, store = memoryStore()): Promise<Telemetry> {
  return startLogs(hub, systemClock, { mesh, store, members })
}

/** Packs of some 3 KB in a chain, so that a piece holds about ten. */
function bigChain(count: number): Pack[] {
  const readings = manyReadings(100)
  const packs: Pack[] = []
  for (let seq = 1; seq <= count; seq++) {
    packs.push(packOf(sensor, { seq, prev: packs.at(-1)?.hash ?? NO_PREV, readings }))
  }
  return packs
}

interface Seen {
  readonly seqs: number[]
  /** Resolves when `count` packs have come. */
  came(count: number): Promise<void>
}

function seenBy({ events }: Telemetry): Seen {
  const seqs: number[] = []
  let wake = (): void => undefined
  events.on('pack', ({ pack }) => {
    seqs.push(pack.seq)
    wake()
  })
  return {
    seqs,
    async came(count) {
      while (seqs.length < count) await new Promise<void>((resolve) => (wake = resolve))
    },
  }
}

describe('a log that is far behind', () => {
  it('lets what is new pass, however much history there is to come on a slow link', async () => {
    const packs = bigChain(310)
    const holder = storeOf(packs.slice(0, 300))
    const { mesh } = linkTo(holder)
    await using a = await startHub(mesh)
    const seen = seenBy(a)
    const late: number[] = []
    for (const [i, pack] of packs.slice(300).entries()) {
      await seen.came(20 * (i + 1))
      const before = seen.seqs.length
      holder.insert([{ pack, receivedAtMs: Date.now() }])
      while (!seen.seqs.includes(pack.seq)) await seen.came(seen.seqs.length + 1)
      late.push(seen.seqs.indexOf(pack.seq) - before)
    }
    await seen.came(310)
    // Two pieces of 32 KiB at most are under way, and here a pack has more than 3 KB.
    const most = Math.max(...late)
    assert.ok(most <= 2 * 11 + 2, `${most} packs of history before news: ${late.join(' ')}`)
    assert.deepEqual(
      seen.seqs.toSorted((x, y) => x - y),
      packs.map(({ seq }) => seq),
    )
    assert.deepEqual(a.gaps(sensor.key), [])
  })

  it('tells how far it has come, from the beginning to the end, and calls nothing missing', async () => {
    const { mesh } = linkTo(storeOf(chainOf(sensor, 400)))
    await using a = await startHub(mesh)
    const seen = seenBy(a)
    const told: [number, number][] = []
    const gaps: unknown[] = []
    a.events.on('progress', ({ packs, of }) => told.push([packs, of]))
    a.events.on('gap', (gap) => gaps.push(gap))
    await seen.came(100)
    const midway = a.progress(sensor.key)
    assert.ok(midway && midway.of === 400 && midway.packs >= 90 && midway.packs < 400)
    await seen.came(400)
    await quiet()
    assert.deepEqual(told.at(-1), [400, 400])
    assert.ok(told.length >= 3 && told.length <= 12, `${told.length} times`)
    const steps = told.map(([packs]) => packs)
    assert.deepEqual(
      steps,
      steps.toSorted((x, y) => x - y),
    )
    assert.deepEqual(a.progress(sensor.key), { packs: 400, of: 400 })
    assert.deepEqual(gaps, [])
  })

  it('names at the end what the holder does not have either', async () => {
    const packs = chainOf(sensor, 300)
    const holder = storeOf(packs.filter(({ seq }) => seq > 50 && (seq < 100 || seq > 150)))
    const { mesh } = linkTo(holder)
    await using a = await startHub(mesh)
    const seen = seenBy(a)
    const gaps: [number, number, number][] = []
    a.events.on('gap', ({ from, to }) => gaps.push([from, to, seen.seqs.length]))
    holder.insert([
      { pack: packOf(sensor, { seq: 301, prev: packs[299]?.hash ?? NO_PREV }), receivedAtMs: 0 },
    ])
    await seen.came(200)
    await quiet()
    assert.deepEqual(gaps, [
      [1, 50, 200],
      [100, 150, 200],
    ])
    // Of what is to be had: not what lies below the holder's first pack.
    assert.deepEqual(a.progress(sensor.key), { packs: 200, of: 251 })
  })

  it('goes on after a break with what is missing, and takes nothing twice', async () => {
    const { mesh, streams } = linkTo(storeOf(chainOf(sensor, 300)))
    const store = memoryStore()
    await using a = await startHub(mesh, store)
    const seen = seenBy(a)
    await seen.came(60)
    streams[0]?.abort(new Error('cable pulled'))
    await seen.came(300)
    assert.equal(new Set(seen.seqs).size, 300)
    assert.deepEqual([store.head(sensor.key), store.gaps(sensor.key)], [300, []])
    assert.equal(streams.length, 2)
  })

  it('shows nothing of a log whose holders have gone', async () => {
    const { mesh } = linkTo(storeOf(chainOf(sensor, 3)))
    await using a = await startHub(mesh)
    await seenBy(a).came(3)
    assert.deepEqual(a.progress(sensor.key), { packs: 3, of: 3 })
    mesh.events.emit('disconnect', { key: sensor.key })
    assert.equal(a.progress(sensor.key), undefined)
  })
})

describe('asking for history in pieces', () => {
  const stand = { device: sensor.key, first: 1 }
  const shown = (entries: readonly LogEntry[]) => entries.map(({ from, to }) => [from, to])

  it('follows a log that is near its end in order, and one that is far from it in pieces', () => {
    const near = createBackfill()
    assert.deepEqual(shown(near.start(sensor.key, 4, [])), [[5, 5]])
    const soon = { ...stand, head: 4 + NEAR_PACKS, ended: 5 }
    assert.deepEqual(shown(near.on(soon)), [[5, undefined]])
    assert.equal(near.busy(sensor.key), false)
    const far = createBackfill()
    far.start(sensor.key, 4, [{ from: 2, to: 3 }])
    const asked = far.on({ ...stand, head: 1000, ended: 5 })
    assert.deepEqual(shown(asked), [
      [1001, undefined],
      [2, 3],
      [5, 20],
    ])
    assert.equal(far.busy(sensor.key), true)
    assert.equal(shown(far.on({ ...stand, head: 1000, ended: 3 })).length, 1)
  })

  it('ends against a holder that promises what it does not have', () => {
    const fill = createBackfill()
    fill.start(sensor.key, 0, [])
    const open = [...fill.on({ ...stand, head: Number.MAX_SAFE_INTEGER, ended: 1 })]
    let rounds = 0
    while (fill.busy(sensor.key)) {
      const { to } = open.pop() ?? {}
      if (to !== undefined) open.push(...fill.on({ ...stand, head: 0, ended: to }))
      assert.ok(rounds++ < 20_000, 'it asks for ever')
    }
    assert.ok(rounds > 0)
  })

  it('forgets a log that is no longer wanted', () => {
    const fill = createBackfill()
    fill.start(sensor.key, 0, [])
    fill.on({ ...stand, head: 1000, ended: 1 })
    const ends = fill.stop(sensor.key)
    assert.ok(ends.every(({ from }) => from === 0))
    assert.deepEqual(
      ends.map(({ to }) => to),
      [undefined, 16, 32],
    )
    assert.equal(fill.busy(sensor.key), false)
  })
})

/** Resolves when everything that can run has run. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 100; i++) await setImmediate()
}
