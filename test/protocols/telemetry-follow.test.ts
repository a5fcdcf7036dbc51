import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import {
  BOUNDS,
  Follow,
  NO_PREV,
  PackFrame,
  readLogs,
  serveLogs,
  TELEMETRY,
  type LogEvent,
  type Pack,
  type PackSource,
} from '../../protocols/telemetry/index.ts'
import { openChannel, toHex, type ByteStream, type Channel } from '../../protocols/wire/index.ts'
import { systemClock } from '../../node/env.ts'
import { boundedPair } from '../helpers/bounded-stream.ts'
import { channelPair } from '../helpers/channels.ts'
import { chainOf, CONTEXT, deviceOf, manyReadings, packOf } from '../helpers/telemetry.ts'

const one = deviceOf('one')
const two = deviceOf('two')

/** Logs in memory that count what was read of them. */
function memorySource(...logs: readonly (readonly Pack[])[]) {
  const kept = new Map<string, Pack[]>()
  const listeners = new Set<(device: Uint8Array) => void>()
  const source = {
    reads: 0,
    listeners,
    bounds(device: Uint8Array) {
      const packs = kept.get(toHex(device))
      const [first, last] = [packs?.[0], packs?.at(-1)]
      return first && last ? { first: first.seq, head: last.seq } : undefined
    },
    read(device: Uint8Array, fromSeq: number, limit: number) {
      source.reads++
      return (kept.get(toHex(device)) ?? []).filter(({ seq }) => seq >= fromSeq).slice(0, limit)
    },
    onNew(listener: (device: Uint8Array) => void) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    add(pack: Pack) {
      const key = toHex(pack.device)
      kept.set(key, [...(kept.get(key) ?? []), pack])
      for (const listener of listeners) listener(pack.device)
    },
  } satisfies PackSource & Record<string, unknown>
  for (const pack of logs.flat()) source.add(pack)
  return source
}

async function connect(source: PackSource, mayRead: (device: Uint8Array) => boolean = () => true) {
  const [near, far] = await channelPair(TELEMETRY)
  const stop = new AbortController()
  const serving = serveLogs(far.channel, { source, mayRead }, stop.signal)
  serving.catch(() => undefined)
  const reader = readLogs(near.channel, CONTEXT)
  return { near, far, stop, serving, reader, events: reader.events() }
}

const WINDOW_BYTES = 64 * 1024

/** Like `connect`, over a stream with a small window. */
function connectBounded(source: PackSource) {
  const [near, far] = boundedPair(WINDOW_BYTES)
  const { signal } = new AbortController()
  const open = (end: unknown): Channel =>
    openChannel(end as ByteStream, TELEMETRY, systemClock, signal)
  serveLogs(open(far), { source, mayRead: () => true }, signal).catch(() => undefined)
  const reader = readLogs(open(near), CONTEXT)
  return { near, reader, events: reader.events() }
}

/** Packs of some 15 KB. */
function bigPacks(count: number, device = one): Pack[] {
  const readings = manyReadings(BOUNDS.maxReadings)
  return Array.from({ length: count }, (_, i) =>
    packOf(device, { seq: i + 1, prev: i === 0 ? NO_PREV : one.key, readings }),
  )
}

async function take(events: AsyncGenerator<LogEvent, void>, count: number): Promise<LogEvent[]> {
  const out: LogEvent[] = []
  while (out.length < count) {
    const { value } = await events.next()
    assert.ok(value, 'the holder went on')
    out.push(value)
  }
  return out
}

const seqs = (events: readonly LogEvent[]) => events.map(({ pack }) => pack?.seq)

describe('following logs', () => {
  it('gives history, then what is new, in order', async () => {
    const packs = chainOf(one, 6)
    const source = memorySource(packs.slice(0, 3))
    const { reader, events } = await connect(source)
    await reader.follow([{ device: one.key, from: 1 }])
    assert.deepEqual(seqs(await take(events, 3)), [1, 2, 3])
    for (const pack of packs.slice(3)) source.add(pack)
    assert.deepEqual(seqs(await take(events, 3)), [4, 5, 6])
  })

  it('resumes on a new stream where the old one broke', async () => {
    const packs = chainOf(one, 5)
    const source = memorySource(packs)
    const first = await connect(source)
    await first.reader.follow([{ device: one.key, from: 1 }])
    const got = seqs(await take(first.events, 2))
    first.near.stream.abort(new Error('cable pulled'))
    await assert.rejects(first.serving)
    const second = await connect(source)
    await second.reader.follow([{ device: one.key, from: 3 }])
    got.push(...seqs(await take(second.events, 3)))
    assert.deepEqual(got, [1, 2, 3, 4, 5])
    assert.equal(source.listeners.size, 1)
  })

  it('says what it no longer has, and where an empty log stands', async () => {
    const { reader, events } = await connect(memorySource(chainOf(one, 5).slice(3)))
    await reader.follow([
      { device: one.key, from: 1 },
      { device: two.key, from: 1 },
    ])
    const got = await take(events, 3)
    const [pruned] = got.filter(({ pack }) => pack?.seq === 4)
    assert.equal(pruned?.first, 4)
    const [empty] = got.filter(({ pack }) => pack === undefined)
    assert.deepEqual([empty?.device, empty?.first, empty?.head], [two.key, 1, 0])
  })

  it('fills a gap beside the live log, and ends it by itself', async () => {
    const { reader, events } = await connect(memorySource(chainOf(one, 9)))
    await reader.follow([
      { device: one.key, from: 9 },
      { device: one.key, from: 3, to: 4 },
    ])
    assert.deepEqual(new Set(seqs(await take(events, 3))), new Set([3, 4, 9]))
  })

  it('takes logs in turn, and puts news before history', async () => {
    const others = ['a', 'b', 'c', 'd', 'e', 'f'].map(deviceOf)
    const short = chainOf(two, 3)
    const source = memorySource(short.slice(0, 1), ...others.map((other) => bigPacks(20, other)))
    const { reader, events } = connectBounded(source)
    const logs = [two, ...others].map(({ key }) => ({ device: key, from: 1 }))
    await reader.follow(logs)
    const start = (await take(events, 7)).map(({ device }) => toHex(device))
    assert.deepEqual(
      start,
      logs.map(({ device }) => toHex(device)),
    )
    for (const pack of short.slice(1)) source.add(pack)
    const order = (await take(events, 116)).map(({ device }) => toHex(device) === toHex(two.key))
    const [first, second] = [order.indexOf(true), order.lastIndexOf(true)]
    // Some history was already on its way.
    assert.ok(first >= 0 && first < 45, 'news waited behind history')
    assert.equal(second - first, 2, 'one pack of history between two of news')
  })

  it('reads no further than a slow reader has room for', async () => {
    const source = memorySource(bigPacks(200))
    const { reader, near, events } = connectBounded(source)
    await reader.follow([{ device: one.key, from: 1 }])
    // The reader's own bound is 256 KiB of frames that wait, then its window.
    const ahead = await settled(() => source.reads)
    assert.ok(ahead < 45, `${ahead} of 200 packs read`)
    assert.ok(near.mostBytes < WINDOW_BYTES + TELEMETRY.maxFrameBytes)
    assert.equal((await take(events, 200)).at(-1)?.pack?.seq, 200)
    assert.equal(source.reads, 200)
  })

  it('does not give a log that the reader may not have, nor go on once it may not', async () => {
    const packs = chainOf(one, 3)
    const source = memorySource(packs.slice(0, 2), chainOf(two, 1))
    let allowed = true
    const { reader, events } = await connect(
      source,
      (device) => allowed && toHex(device) === toHex(one.key),
    )
    await reader.follow([{ device: two.key, from: 1 }])
    assert.equal((await take(events, 1))[0]?.refused, 'TELEMETRY_FORBIDDEN')
    await reader.follow([{ device: one.key, from: 1 }])
    assert.deepEqual(seqs(await take(events, 2)), [1, 2])
    allowed = false
    const [last] = packs.slice(2)
    assert.ok(last)
    source.add(last)
    assert.equal((await take(events, 1))[0]?.refused, 'TELEMETRY_FORBIDDEN')
  })

  it('stops sending a log that is no longer wanted', async () => {
    const packs = chainOf(one, 3)
    const source = memorySource(packs.slice(0, 1))
    const { reader, events } = await connect(source)
    await reader.follow([{ device: one.key, from: 1 }])
    await take(events, 1)
    await reader.follow([
      { device: one.key, from: 0 },
      { device: two.key, from: 1 },
    ])
    await take(events, 1)
    for (const pack of packs.slice(1)) source.add(pack)
    source.add(packOf(two))
    const [next] = await take(events, 1)
    assert.deepEqual(next?.device, two.key)
  })

  it('resets a reader that wants more logs than the stream may carry', async () => {
    const { reader, serving } = await connect(memorySource())
    const logs = Array.from({ length: 200 }, (_, i) => ({ device: deviceOf(`d${i}`).key, from: 1 }))
    await reader.follow(logs)
    await reader.follow(logs.map(({ device }) => ({ device, from: 1, to: 9 })))
    await assert.rejects(serving, { code: 'TELEMETRY_TOO_MANY_LOGS' })
  })

  it('ends with the reader, and with the signal', async () => {
    const quiet = await connect(memorySource())
    await quiet.reader.follow([{ device: one.key, from: 1 }])
    await take(quiet.events, 1)
    await quiet.near.stream.close()
    await quiet.serving
    const stopped = await connect(memorySource())
    stopped.stop.abort(new Error('stopping'))
    await assert.rejects(stopped.serving, /stopping/)
  })

  it('refuses a holder that sends what was not asked for, or was not signed', async () => {
    const packs = chainOf(one, 3)
    const [first, second] = packs
    assert.ok(first && second)
    const damaged = first.bytes.slice()
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1
    const frames: [Uint8Array, Uint8Array, string][] = [
      [two.key, packOf(two).bytes, 'TELEMETRY_UNASKED'],
      [one.key, packOf(two, { seq: 2, prev: one.key }).bytes, 'TELEMETRY_WRONG_DEVICE'],
      [one.key, first.bytes, 'TELEMETRY_UNASKED'],
      [one.key, damaged, 'IDENTITY_BAD_SIGNATURE'],
    ]
    for (const [device, pack, code] of frames) {
      const [near, far] = await channelPair(TELEMETRY)
      const reader = readLogs(near.channel, CONTEXT)
      await reader.follow([{ device: one.key, from: 2 }])
      await far.channel.next(Follow)
      await far.channel.send(PackFrame, { device, first: 1, head: 3, pack })
      await assert.rejects(reader.events().next(), { code })
    }
  })
})

/** The value once it stays the same while everything that can run has run. */
async function settled(value: () => number): Promise<number> {
  for (let last = -1; last !== value();) {
    last = value()
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  return value()
}
