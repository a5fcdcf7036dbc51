import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { describe, it } from 'node:test'

import { peerIdOf } from '../../protocols/identity/index.ts'
import {
  baseName,
  BOUNDS,
  ExtractFrame,
  Follow,
  NO_PREV,
  PackFrame,
  readExtracts,
  serveExtracts,
  TELEMETRY,
  type Extract,
  type ExtractFrameMessage,
  type ExtractGrant,
  type Pack,
  type PackSource,
  type Reading,
} from '../../protocols/telemetry/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import { chainOf, deviceOf, packOf, reading, START_MS } from '../helpers/telemetry.ts'

const holder = deviceOf('holder')
const other = deviceOf('other')

const ALL: ExtractGrant = { allows: () => true, sinceMs: 0 }
const only = (...names: string[]): ExtractGrant => ({
  allows: (sensor) => names.includes(sensor),
  sinceMs: 0,
})

/** The own log of `holder` in memory. */
function ownLog(packs: readonly Pack[]) {
  const kept = [...packs]
  const listeners = new Set<(device: Uint8Array) => void>()
  const source = {
    listeners,
    reads: 0,
    bounds: () => ({ first: kept[0]?.seq ?? 1, head: kept.at(-1)?.seq ?? 0 }),
    read(device: Uint8Array, fromSeq: number, limit: number) {
      source.reads++
      if (!equalBytes(device, holder.key)) return []
      return kept.filter(({ seq }) => seq >= fromSeq).slice(0, limit)
    },
    onNew(listener: (device: Uint8Array) => void) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    add(...readings: Reading[]) {
      const last = kept.at(-1)
      const seq = (last?.seq ?? 0) + 1
      kept.push(packOf(holder, { seq, prev: last?.hash ?? NO_PREV, readings }))
      for (const listener of listeners) listener(holder.key)
    },
  } satisfies PackSource & Record<string, unknown>
  return source
}

async function connect(source: PackSource, grant: () => ExtractGrant | undefined, from = 1) {
  const [near, far] = await channelPair(TELEMETRY)
  const stop = new AbortController()
  const serving = serveExtracts(
    far.channel,
    { key: holder.key, source, grant, pause: () => setImmediate() },
    stop.signal,
  )
  serving.catch(() => undefined)
  return { near, far, stop, serving, extracts: readExtracts(near.channel, holder.key, from) }
}

async function take(extracts: AsyncGenerator<Extract, void>, count: number): Promise<Extract[]> {
  const out: Extract[] = []
  while (out.length < count) {
    const { value } = await extracts.next()
    assert.ok(value, 'the holder went on')
    out.push(value)
  }
  return out
}

const told = (extracts: readonly Extract[]) =>
  extracts.map(({ seq, readings }) => [seq, ...readings.map(({ sensor }) => sensor)])

const mixed = [reading({ sensor: 'load' }), reading({ sensor: 'temperature', unit: 'Cel' })]

describe('extracts for a guest', () => {
  it('hold the readings that its caps allow, of history and of what is new, and no signature', async () => {
    const source = ownLog([packOf(holder, { readings: mixed })])
    const { near, far, extracts } = await connect(source, () => only('temperature'))
    const sent: ExtractFrameMessage[] = []
    const send = far.channel.send.bind(far.channel)
    far.channel.send = (kind, value) => {
      sent.push(value as ExtractFrameMessage)
      return send(kind, value)
    }
    assert.deepEqual(told(await take(extracts, 1)), [[1, 'temperature']])
    source.add(reading({ sensor: 'load' }))
    source.add(...mixed)
    const [live] = await take(extracts, 1)
    assert.deepEqual(live?.readings, [mixed[1]])
    assert.equal(live.seq, 3)
    await near.stream.close()
    for (const frame of sent) assert.deepEqual(Object.keys(frame), ['seq', 'clock', 'body'])
    assert.equal(sent.length, 2)
  })

  it('follow the caps as they change, from the very next pack on', async () => {
    const source = ownLog([])
    let grant: ExtractGrant = only('load')
    const { extracts } = await connect(source, () => grant)
    source.add(...mixed)
    assert.deepEqual(told(await take(extracts, 1)), [[1, 'load']])
    grant = only('temperature')
    source.add(...mixed)
    assert.deepEqual(told(await take(extracts, 1)), [[2, 'temperature']])
    grant = only()
    source.add(...mixed)
    await settled(() => source.reads)
    grant = ALL
    source.add(...mixed)
    assert.deepEqual(told(await take(extracts, 1)), [[4, 'load', 'temperature']])
  })

  it('end when the grant ends, in the middle of a stream', async () => {
    const source = ownLog([])
    let grant: ExtractGrant | undefined = ALL
    const { extracts, serving } = await connect(source, () => grant)
    source.add(...mixed)
    await take(extracts, 1)
    grant = undefined
    source.add(...mixed)
    await assert.rejects(extracts.next(), { code: 'TELEMETRY_FORBIDDEN' })
    await serving
    assert.equal(source.listeners.size, 0)
  })

  it('hold nothing from before the grant, and nothing that has no date yet', async () => {
    const before = reading({ sensor: 'load', atMs: START_MS - 1 })
    const source = ownLog([
      packOf(holder, { readings: [before, ...mixed] }),
      packOf(holder, {
        seq: 2,
        prev: holder.key,
        clock: 'unset',
        readings: [reading({ atMs: -5 })],
      }),
      packOf(holder, { seq: 3, prev: holder.key }),
    ])
    const { extracts } = await connect(source, () => ({ ...ALL, sinceMs: START_MS }))
    assert.deepEqual(told(await take(extracts, 2)), [
      [1, 'load', 'temperature'],
      [3, 'load'],
    ])
  })

  it('go back no further than the bound, whatever the guest asks for', async () => {
    const head = BOUNDS.maxExtractPacks + 100
    const asked: number[] = []
    const source = {
      ...ownLog([]),
      bounds: () => ({ first: 1, head }),
      read(_: Uint8Array, fromSeq: number) {
        asked.push(fromSeq)
        return fromSeq <= head ? [packOf(holder, { seq: fromSeq, prev: holder.key })] : []
      },
    }
    const { extracts } = await connect(source, () => ALL)
    const [first] = await take(extracts, 1)
    assert.equal(first?.seq, 101)
    assert.equal(asked[0], 101)
  })

  it('let others work between packs that hold nothing for the guest', async () => {
    const source = ownLog(chainOf(holder, 50))
    let pauses = 0
    const [near, far] = await channelPair(TELEMETRY)
    const pause = (): Promise<void> => (pauses++, setImmediate())
    const deps = { key: holder.key, source, grant: () => only('none'), pause }
    const serving = serveExtracts(far.channel, deps, new AbortController().signal)
    void readExtracts(near.channel, holder.key, 1).next()
    await settled(() => pauses)
    assert.equal(pauses, 50)
    await near.stream.close()
    await serving
  })

  it('are refused to a guest that asks for more than the own log of the device', async () => {
    const wishes = [
      [{ device: other.key, from: 1 }],
      [
        { device: holder.key, from: 1 },
        { device: other.key, from: 1 },
      ],
      [{ device: holder.key, from: 1, to: 9 }],
      [{ device: holder.key, from: 0 }],
    ]
    for (const logs of wishes) {
      const source = ownLog(chainOf(holder, 3))
      const { near, serving } = await connect(source, () => ALL)
      await near.channel.send(Follow, { logs })
      const answer = await near.channel.next(ExtractFrame)
      assert.deepEqual(answer, { status: 1 })
      await assert.rejects(serving, { code: 'TELEMETRY_FORBIDDEN' })
      assert.equal(source.reads, 0)
    }
  })

  it('end for a guest that changes its wish', async () => {
    const source = ownLog(chainOf(holder, 1))
    const { near, serving, extracts } = await connect(source, () => ALL)
    await take(extracts, 1)
    await near.channel.send(Follow, { logs: [{ device: other.key, from: 1 }] })
    await assert.rejects(serving, { code: 'TELEMETRY_UNASKED' })
    assert.equal(source.listeners.size, 0)
  })

  it('end with the guest, and with the signal', async () => {
    const quiet = await connect(ownLog(chainOf(holder, 1)), () => ALL)
    await take(quiet.extracts, 1)
    await quiet.near.stream.close()
    await quiet.serving
    const early = await connect(ownLog([]), () => ALL)
    await early.near.stream.close()
    await early.serving
  })
})

const body = (base = baseName(peerIdOf(holder.key)), atMs = START_MS) => ({
  base,
  readings: [reading({ atMs })],
})

describe('a guest', () => {
  it('refuses readings that are not of the device at the other end, and hostile frames', async () => {
    const good = { seq: 5, clock: 'synced', body: body() } as const
    const frames: [ExtractFrameMessage[], string][] = [
      [[{ ...good, body: body(baseName(peerIdOf(other.key))) }], 'TELEMETRY_WRONG_DEVICE'],
      [[{ ...good, body: body('') }], 'TELEMETRY_WRONG_DEVICE'],
      [[{ ...good, seq: 4 }], 'TELEMETRY_UNASKED'],
      [[good, good], 'TELEMETRY_UNASKED'],
      [[{}], 'TELEMETRY_UNASKED'],
      [[{ seq: 5 }], 'TELEMETRY_UNASKED'],
      [[{ seq: 5, clock: 'synced' }], 'TELEMETRY_UNASKED'],
      [[{ ...good, body: body(undefined, 0) }], 'TELEMETRY_BAD_READING'],
      [[{ status: 1 }], 'TELEMETRY_FORBIDDEN'],
      [[{ status: 200 }], 'TELEMETRY_FORBIDDEN'],
    ]
    for (const [sent, code] of frames) {
      const [near, far] = await channelPair(TELEMETRY)
      const extracts = readExtracts(near.channel, holder.key, 5)
      const got = (async () => {
        for await (const _ of extracts) continue
      })()
      got.catch(() => undefined)
      await far.channel.next(Follow)
      for (const frame of sent) await far.channel.send(ExtractFrame, frame)
      await assert.rejects(got, { code }, JSON.stringify(sent))
    }
  })

  it('takes no signed pack for an extract, nor a member an extract for a pack', async () => {
    const [near, far] = await channelPair(TELEMETRY)
    const next = readExtracts(near.channel, holder.key, 1).next()
    next.catch(() => undefined)
    await far.channel.next(Follow)
    const pack = packOf(holder)
    const frame = { device: holder.key, first: 1, head: 1, pack: pack.bytes }
    await far.channel.send(PackFrame, frame)
    await assert.rejects(next, { code: 'WIRE_MALFORMED' })
    const extract = ExtractFrame.encode({ seq: 1, clock: 'synced', body: body() })
    assert.throws(() => PackFrame.decode(extract), { code: 'WIRE_MALFORMED' })
  })
})

/** Resolves once the value stays the same while everything that can run has run. */
async function settled(value: () => number): Promise<void> {
  for (let last = -1; last !== value();) {
    last = value()
    for (let i = 0; i < 20; i++) await setImmediate()
  }
}
