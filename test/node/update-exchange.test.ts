import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'

import type { Source } from '../../node/services/update/exchange.ts'
import { sealUpdateReport, type UpdateReportContent } from '../../protocols/update/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { ExchangeRoom, fill, holds, releaseOf } from '../helpers/exchange.ts'
import { HOME } from '../helpers/telemetry.ts'

const never = new AbortController().signal

function bytesOf(from: readonly Source[], { key }: { readonly key: Uint8Array }): number {
  return from.find(({ peer }) => equalBytes(peer, key))?.bytes ?? 0
}

describe('a release between devices', () => {
  it('comes whole from the one that has it, each chunk once', async () => {
    await using room = new ExchangeRoom()
    const [source, device] = [await room.device('source'), await room.device('device')]
    const release = releaseOf('app', 60)
    await fill(source, release)
    source.exchange.offer(release.opened)
    room.network.connect(source.key, device.key)
    const told: number[] = []
    const result = await device.exchange.fetch(release.opened, never, {
      onProgress: ({ done }) => told.push(done),
    })
    assert.ok(holds(device, release))
    assert.deepEqual(result, {
      from: [{ peer: source.key, bytes: 120_000 }],
      fetchedBytes: 120_000,
      wastedBytes: 0,
      reused: 0,
    })
    assert.equal(told[0], 0)
    assert.equal(told.at(-1), 60)
  })

  it('comes from all that have something of it, and the source gives each chunk about once', async () => {
    await using room = new ExchangeRoom()
    const source = await room.device('source')
    const devices = await Promise.all(['a', 'b', 'c', 'd'].map((name) => room.device(name)))
    const release = releaseOf('app', 200)
    await fill(source, release)
    source.exchange.offer(release.opened)
    const all = [source, ...devices]
    for (const [i, a] of all.entries()) {
      for (const b of all.slice(i + 1)) room.network.connect(a.key, b.key)
    }
    const results = await Promise.all(
      devices.map(({ exchange }) => exchange.fetch(release.opened, never)),
    )
    const given = results.reduce((sum, { from }) => sum + bytesOf(from, source), 0)
    for (const device of devices) assert.ok(holds(device, release))
    assert.ok(given <= 1.5 * 400_000, `the source gave ${given}`)
  })

  it('crosses a device that joins two networks, while it fetches itself', async () => {
    await using room = new ExchangeRoom()
    const [source, bridge, far] = [
      await room.device('source'),
      await room.device('bridge'),
      await room.device('far'),
    ]
    const release = releaseOf('app', 80)
    await fill(source, release)
    source.exchange.offer(release.opened)
    room.network.connect(source.key, bridge.key)
    room.network.connect(bridge.key, far.key)
    const [, result] = await Promise.all([
      bridge.exchange.fetch(release.opened, never),
      far.exchange.fetch(release.opened, never),
    ])
    assert.ok(holds(far, release))
    assert.equal(bytesOf(result.from, bridge), 160_000)
  })

  it('is completed by the rest when the source is gone at 40 %', async () => {
    await using room = new ExchangeRoom()
    const [source, a, b] = [
      await room.device('source'),
      await room.device('a'),
      await room.device('b'),
    ]
    const release = releaseOf('app', 100)
    await fill(source, release)
    await fill(
      a,
      release,
      Array.from({ length: 70 }, (_, n) => n),
    )
    await fill(
      b,
      release,
      Array.from({ length: 60 }, (_, n) => n + 40),
    )
    source.exchange.offer(release.opened)
    const device = await room.device('device')
    room.network.connect(source.key, device.key)
    const gone = new AbortController()
    const fetching = device.exchange.fetch(release.opened, never, {
      onProgress({ done }) {
        if (done >= 40) gone.abort()
      },
    })
    if (!gone.signal.aborted) await once(gone.signal, 'abort')
    room.network.disconnect(source.key, device.key)
    for (const other of [a, b]) {
      other.exchange.offer(release.opened)
      room.network.connect(other.key, device.key)
    }
    room.network.connect(a.key, b.key)
    await fetching
    assert.ok(holds(device, release))
  })

  it('goes on after a restart with what is on disk', async () => {
    await using room = new ExchangeRoom()
    const source = await room.device('source', { uploadLimit: () => 200_000 })
    const release = releaseOf('app', 60)
    await fill(source, release)
    source.exchange.offer(release.opened)
    const folder = await room.folder()
    const before = await room.device('device', { folder })
    room.network.connect(source.key, before.key)
    const stop = new AbortController()
    const broken = before.exchange.fetch(release.opened, stop.signal, {
      onProgress: ({ done }) => done >= 20 && stop.abort(new Error('enough')),
    })
    await assert.rejects(broken, /enough/)
    await before.exchange[Symbol.asyncDispose]()
    await before.blobs[Symbol.asyncDispose]()
    room.network.disconnect(source.key, before.key)
    const after = await room.device('device', { folder })
    room.network.connect(source.key, after.key)
    const result = await after.exchange.fetch(release.opened, never)
    assert.ok(result.reused >= 20, `${result.reused} reused`)
    assert.equal(result.fetchedBytes, (60 - result.reused) * 2_000)
    assert.ok(holds(after, release))
  })

  it('has a chunk that is in it twice fetched once, and served by either number', async () => {
    await using room = new ExchangeRoom()
    const [source, device, late] = [
      await room.device('source'),
      await room.device('device'),
      await room.device('late'),
    ]
    const release = releaseOf('app', 10, { repeat: true })
    await fill(source, release)
    source.exchange.offer(release.opened)
    room.network.connect(source.key, device.key)
    const { fetchedBytes } = await device.exchange.fetch(release.opened, never)
    assert.equal(fetchedBytes, 20_000)
    room.network.connect(device.key, late.key)
    await late.exchange.fetch(release.opened, never, { needs: [10] })
    assert.equal(late.blobs.usage().blobs, 1)
  })

  it('is fetched at once when all of it is here', async () => {
    await using room = new ExchangeRoom()
    const device = await room.device('device')
    const release = releaseOf('app', 5)
    await fill(device, release)
    const { fetchedBytes, reused } = await device.exchange.fetch(release.opened, never)
    assert.deepEqual([fetchedBytes, reused], [0, 5])
  })

  it('leaves no faster than the limit', async () => {
    await using room = new ExchangeRoom()
    const source = await room.device('source', { uploadLimit: () => 100_000 })
    const device = await room.device('device')
    const release = releaseOf('app', 20)
    await fill(source, release)
    source.exchange.offer(release.opened)
    room.network.connect(source.key, device.key)
    const startedMs = performance.now()
    await device.exchange.fetch(release.opened, never)
    const tookMs = performance.now() - startedMs
    assert.ok(tookMs >= 360, `40 kB in ${tookMs} ms`)
  })

  it('is healed where a chunk of it rotted at the source', async () => {
    await using room = new ExchangeRoom()
    const [source, other, device] = [
      await room.device('source'),
      await room.device('other'),
      await room.device('device'),
    ]
    const release = releaseOf('app', 10)
    await fill(source, release)
    await fill(other, release, [3])
    source.exchange.offer(release.opened)
    const [, , , lost] = release.opened.chunks
    assert.ok(lost)
    await source.blobs.delete(lost.hash)
    room.network.connect(source.key, device.key)
    const fetching = device.exchange.fetch(release.opened, never)
    other.exchange.offer(release.opened)
    room.network.connect(other.key, device.key)
    const { from } = await fetching
    assert.equal(bytesOf(from, other), 2_000)
    assert.deepEqual(device.faults, [])
  })
})

describe('files of a channel', () => {
  const big = new Uint8Array(600_000).fill(7)
  const file = (_: string, name: string): Promise<Uint8Array | undefined> =>
    Promise.resolve(name === 'targets.json' ? big : undefined)

  it('come whole in parts, and a missing one is said to be', async () => {
    await using room = new ExchangeRoom()
    const [source, device] = [await room.device('source', { file }), await room.device('device')]
    const met = offered(device)
    room.network.connect(source.key, device.key)
    await met
    const ask = (name: string): Promise<Uint8Array | undefined> =>
      device.exchange.ask(source.key, { channel: 'home', file: name }, never)
    const names = ['targets.json', 'root.json', 'targets.json']
    const [got, none, again] = await Promise.all(names.map(ask))
    assert.deepEqual(Buffer.from(got ?? []), Buffer.from(big))
    assert.deepEqual(Buffer.from(again ?? []), Buffer.from(big))
    assert.equal(none, undefined)
    const many = Array.from({ length: 20 }, (_, i) => ask(`${i}.json`))
    assert.deepEqual(
      await Promise.all(many),
      Array.from({ length: 20 }, () => undefined),
    )
  })

  it('are refused to be asked of who is not connected', async () => {
    await using room = new ExchangeRoom()
    const [device, other] = [await room.device('device'), await room.device('other')]
    const asked = device.exchange.ask(other.key, { channel: 'home', file: 'root.json' }, never)
    await assert.rejects(asked, { code: 'NODE_TIMEOUT' })
  })

  it('are told of: the newest metadata of each peer', async () => {
    await using room = new ExchangeRoom()
    const [source, device] = [await room.device('source'), await room.device('device')]
    source.exchange.announce([{ name: 'home', timestamp: 3 }])
    const met = offered(device)
    room.network.connect(source.key, device.key)
    assert.deepEqual((await met).channels, [{ name: 'home', timestamp: 3 }])
    const newer = offered(device)
    source.exchange.announce([{ name: 'home', timestamp: 4 }])
    assert.deepEqual((await newer).channels, [{ name: 'home', timestamp: 4 }])
    assert.equal(device.exchange.offers().length, 1)
  })
})

describe('reports', () => {
  const content: UpdateReportContent = {
    seq: 1,
    at: 1_800_000_000_000,
    clock: 'synced',
    channel: 'home',
    name: 'app',
    version: '1.0',
    build: 1,
    index: new Uint8Array(32),
    phase: 'fetching',
    from: [],
  }

  it('reach devices that the reporter never met, the newest of each', async () => {
    await using room = new ExchangeRoom()
    const [a, b, c] = [await room.device('a'), await room.device('b'), await room.device('c')]
    a.exchange.report(sealUpdateReport(content, HOME, a.signer))
    const heard = reported(b)
    room.network.connect(a.key, b.key)
    await heard
    const passed = reported(c)
    room.network.connect(b.key, c.key)
    assert.equal((await passed).phase, 'fetching')
    const newer = reported(c)
    a.exchange.report(sealUpdateReport({ ...content, seq: 2, phase: 'healthy' }, HOME, a.signer))
    assert.equal((await newer).phase, 'healthy')
    assert.deepEqual(
      c.exchange.reports().map(({ seq }) => seq),
      [2],
    )
  })

  it('of devices that are no members are not passed on', async () => {
    await using room = new ExchangeRoom()
    const b = await room.device('b', { isMember: (key) => !equalBytes(key, stranger.key) })
    const stranger = await room.device('stranger')
    const c = await room.device('c')
    stranger.exchange.report(sealUpdateReport(content, HOME, stranger.signer))
    const heard = reported(b)
    room.network.connect(stranger.key, b.key)
    c.exchange.report(sealUpdateReport({ ...content, seq: 9 }, HOME, c.signer))
    room.network.connect(c.key, b.key)
    assert.equal((await heard).seq, 9)
    assert.equal(b.exchange.reports().length, 1)
  })
})

function offered({ exchange }: Awaited<ReturnType<ExchangeRoom['device']>>) {
  return new Promise<{ channels: readonly unknown[] }>((resolve) => {
    const off = exchange.events.on('offer', (offer) => {
      off()
      resolve(offer)
    })
  })
}

function reported({ exchange }: Awaited<ReturnType<ExchangeRoom['device']>>) {
  return new Promise<{ phase: string; seq: number }>((resolve) => {
    const off = exchange.events.on('report', ({ report }) => {
      off()
      resolve(report)
    })
  })
}
