import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { AbstractStream, streamPair } from '@libp2p/utils'
import fc from 'fast-check'

import type { Clock } from '../../protocols/env.ts'
import { openFrames } from '../../protocols/wire/frames.ts'
import {
  bytes,
  concatBytes,
  encodeVarint,
  field,
  message,
  openChannel,
  uint,
  WireError,
  type Protocol,
  type WireErrorCode,
} from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import { virtualClock } from '../helpers/clock.ts'

const TEST: Protocol = {
  id: '/kith/test/1.0.0',
  maxFrameBytes: 1024,
  maxFrames: 4,
  maxInboundStreams: 1,
  maxOutboundStreams: 1,
  messageDeadlineMs: 5000,
}
const LIMITS = { maxFrameBytes: 1024, frameDeadlineMs: 5000 }
const Count = message('Count', { n: field(1, uint()) }, { maxBytes: 64 })
const Blob = message('Blob', { data: field(1, bytes({ max: 65_000 })) }, { maxBytes: 65_100 })

const signal = new AbortController().signal

function frame(body: Uint8Array): Uint8Array {
  return concatBytes(encodeVarint(body.length), body)
}

async function fails(promise: Promise<unknown>, code: WireErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => error instanceof WireError && error.code === code)
}

/** Our frames on one end, a raw stream on the other. */
async function framesAndPeer(limits = LIMITS, clock: Clock = virtualClock()) {
  const [ours, peer] = await streamPair()
  return { ours, peer, frames: openFrames(ours, limits, clock) }
}

describe('frames', () => {
  it('are the same however the network cuts them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1, maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 8 }),
        async (bodies, cuts) => {
          const { peer, frames } = await framesAndPeer()
          const all = concatBytes(...bodies.map(frame))
          for (let at = 0, i = 0; at < all.length; i++) {
            const size = cuts[i % cuts.length] ?? 1
            peer.send(all.slice(at, at + size))
            at += size
          }
          const closing = peer.close()
          for (const body of bodies) assert.deepEqual(await frames.read(signal), body)
          assert.equal(await frames.read(signal), undefined)
          await closing
        },
      ),
      { numRuns: 40 },
    )
  })

  it('end a stream whose length is over the limit, before its bytes come', async () => {
    const { ours, peer, frames } = await framesAndPeer()
    peer.send(encodeVarint(1025))
    await fails(frames.read(signal), 'WIRE_FRAME_TOO_LARGE')
    assert.equal(ours.status, 'aborted')
    await fails(frames.write([Uint8Array.of(1)], signal), 'WIRE_FRAME_TOO_LARGE')
  })

  it('take a frame of exactly the limit, both ways', async () => {
    const { peer, frames } = await framesAndPeer()
    const largest = new Uint8Array(1024).fill(7)
    const there = openFrames(peer, LIMITS, virtualClock())
    await frames.write([largest], signal)
    assert.deepEqual(await there.read(signal), largest)
    await fails(frames.write([new Uint8Array(1025)], signal), 'WIRE_FRAME_TOO_LARGE')
  })

  for (const [what, prefix, code] of [
    ['longer than four bytes', [0xff, 0xff, 0xff, 0xff], 'WIRE_FRAME_TOO_LARGE'],
    ['longer than it need be', [0x81, 0x00], 'WIRE_MALFORMED'],
    ['of nothing', [0x00], 'WIRE_MALFORMED'],
  ] as const) {
    it(`refuse a length ${what}`, async () => {
      const { ours, peer, frames } = await framesAndPeer()
      peer.send(Uint8Array.from(prefix))
      await fails(frames.read(signal), code)
      assert.equal(ours.status, 'aborted')
    })
  }

  it('end a stream whose frame drips in too slowly, and not one second sooner', async () => {
    const clock = virtualClock()
    const { ours, peer, frames } = await framesAndPeer(LIMITS, clock)
    const reading = fails(frames.read(signal), 'WIRE_TOO_SLOW')
    peer.send(encodeVarint(100))
    await clock.advance(0)
    for (let second = 1; second < 5; second++) {
      peer.send(Uint8Array.of(second))
      await clock.advance(1000)
      assert.equal(ours.status, 'open')
    }
    await clock.advance(1000)
    assert.equal(ours.status, 'aborted')
    await reading
  })

  it('may come as late as they like between each other', async () => {
    const clock = virtualClock()
    const { ours, peer, frames } = await framesAndPeer(LIMITS, clock)
    peer.send(frame(Uint8Array.of(1)))
    await clock.advance(3_600_000)
    peer.send(frame(Uint8Array.of(2)))
    await clock.advance(3_600_000)
    assert.deepEqual(await frames.read(signal), Uint8Array.of(1))
    assert.deepEqual(await frames.read(signal), Uint8Array.of(2))
    assert.equal(ours.status, 'open')
  })

  it('say when the peer closed in the middle of one', async () => {
    const { peer, frames } = await framesAndPeer()
    peer.send(Uint8Array.of(5, 1, 2))
    await peer.close()
    await fails(frames.read(signal), 'WIRE_CLOSED')
  })

  it('give what came whole before the peer reset, then its end as our own error', async () => {
    const { peer, frames } = await framesAndPeer()
    const clock = virtualClock()
    peer.send(frame(Uint8Array.of(1)))
    await clock.advance(0)
    peer.abort(new Error('secret of the other side'))
    await clock.advance(0)
    assert.deepEqual(await frames.read(signal), Uint8Array.of(1))
    await fails(frames.read(signal), 'WIRE_CLOSED')
    await fails(frames.write([Uint8Array.of(1)], signal), 'WIRE_CLOSED')
  })

  it('cannot be written after our side was closed', async () => {
    const { ours, peer, frames } = await framesAndPeer()
    await ours.close()
    await fails(frames.write([Uint8Array.of(1)], signal), 'WIRE_CLOSED')
    peer.send(frame(Uint8Array.of(2)))
    assert.deepEqual(await frames.read(signal), Uint8Array.of(2))
  })

  it('stop waiting with the signal, and go on after it', async () => {
    const { peer, frames } = await framesAndPeer()
    const stop = new AbortController()
    const reading = frames.read(stop.signal)
    const reason = new Error('stopping')
    stop.abort(reason)
    await assert.rejects(reading, reason)
    await assert.rejects(frames.read(stop.signal), reason)
    peer.send(frame(Uint8Array.of(1)))
    assert.deepEqual(await frames.read(signal), Uint8Array.of(1))
  })

  it('are read by one reader at a time', async () => {
    const { frames } = await framesAndPeer()
    const stop = new AbortController()
    const first = frames.read(stop.signal)
    await assert.rejects(frames.read(signal), TypeError)
    stop.abort(new Error('done'))
    await assert.rejects(first, /done/)
  })
})

describe('back-pressure', () => {
  const LARGE = { maxFrameBytes: 65_536, frameDeadlineMs: 5000 }

  it('stops a sender whose reader does not read, and loses nothing', async () => {
    const { ours, peer, frames } = await framesAndPeer(LARGE)
    const body = new Uint8Array(60_000)
    let sent = 0
    for (; ours.readStatus !== 'paused' && sent < 100; sent++) {
      peer.send(frame(body.fill(sent)))
      await setImmediate()
    }
    assert.ok(sent > 4 && sent < 20, `${sent} frames of 60,000 bytes before a pause`)
    // What comes now stays in the stream; the end of the other side overtakes it.
    for (let more = 0; more < 5; more++) peer.send(frame(body.fill(sent++)))
    await Promise.all([peer.close(), ours.close()])
    while (ours.remoteWriteStatus !== 'closed') await setImmediate()
    assert.equal(ours.readStatus, 'paused')
    assert.equal(ours.status, 'closed')

    for (let i = 0; i < sent; i++) assert.equal((await frames.read(signal))?.[0], i)
    assert.equal(await frames.read(signal), undefined)
  })

  it('goes on when what is left unread is the beginning of the largest frame', async () => {
    const limits = { maxFrameBytes: 1_000_000, frameDeadlineMs: 5000 }
    const { ours, peer, frames } = await framesAndPeer(limits)
    const largest = frame(new Uint8Array(1_000_000).fill(1))
    peer.send(concatBytes(largest, largest.slice(0, 900_000)))
    while (ours.readStatus !== 'paused') await setImmediate()
    peer.send(largest.slice(900_000))
    assert.equal((await frames.read(signal))?.length, 1_000_000)
    assert.equal((await frames.read(signal))?.length, 1_000_000)
  })

  it('holds a million one-byte frames in a few bytes each', async () => {
    const { ours, peer, frames } = await framesAndPeer(LARGE)
    const tiny = new Uint8Array(2_000_000).map((_, i) => (i % 2 === 0 ? 1 : 9))
    globalThis.gc?.()
    const before = process.memoryUsage()
    peer.send(tiny)
    while (ours.readStatus !== 'paused') await setImmediate()
    const after = process.memoryUsage()
    const grown = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers
    assert.ok(grown < 24_000_000, `${grown} bytes for 2,000,000`)
    assert.deepEqual(await frames.read(signal), Uint8Array.of(9))
  })

  it('gives up on a peer that reads nothing', async () => {
    const clock = virtualClock()
    const [ours] = await streamPair()
    assert.ok(ours instanceof AbstractStream)
    const frames = openFrames(ours, LARGE, clock)
    // The state in which yamux leaves a stream whose window is used up.
    ours.onMuxerNeedsDrain()
    const writing = fails(frames.write([new Uint8Array(60_000)], signal), 'WIRE_TOO_SLOW')
    await clock.advance(4999)
    assert.equal(ours.status, 'open')
    await clock.advance(1)
    assert.equal(ours.status, 'aborted')
    await writing
  })

  it('writes on when the peer reads again, and stops with the signal', async () => {
    const [ours] = await streamPair()
    assert.ok(ours instanceof AbstractStream)
    const frames = openFrames(ours, LARGE, virtualClock())
    ours.onMuxerNeedsDrain()
    const writing = frames.write([Uint8Array.of(1)], signal)
    ours.onMuxerDrain()
    await writing

    ours.onMuxerNeedsDrain()
    const stop = new AbortController()
    const stopped = frames.write([Uint8Array.of(1)], stop.signal)
    stop.abort(new Error('stopping'))
    await assert.rejects(stopped, /stopping/)
  })
})

describe('a channel', () => {
  it('takes as many frames as its protocol allows and no more', async () => {
    const [a, b] = await channelPair(TEST)
    for (let n = 0; n < 4; n++) await a.channel.send(Count, { n })
    await fails(a.channel.send(Count, { n: 4 }), 'WIRE_TOO_MANY_FRAMES')
    for (let n = 0; n < 4; n++) assert.deepEqual(await b.channel.receive(Count), { n })
    a.stream.send(frame(Count.encode({ n: 4 })))
    await fails(b.channel.receive(Count), 'WIRE_TOO_MANY_FRAMES')
    assert.equal(b.stream.status, 'aborted')
  })

  it('resets a peer that sends what the message does not allow', async () => {
    const [a, b] = await channelPair(TEST)
    await a.channel.send(Blob, { data: Uint8Array.of(1) })
    await fails(b.channel.receive(Count), 'WIRE_MALFORMED')
    assert.equal(b.stream.status, 'aborted')
    await fails(b.channel.receive(Count), 'WIRE_MALFORMED')
  })

  it('refuses to send what its message or its protocol does not allow', async () => {
    const [a] = await channelPair(TEST)
    await fails(a.channel.send(Count, { n: -1 }), 'WIRE_MALFORMED')
    await fails(a.channel.send(Blob, { data: new Uint8Array(2000) }), 'WIRE_FRAME_TOO_LARGE')
    assert.equal(a.stream.status, 'open')
  })

  it('waits for a message that is due until the deadline, and not longer', async () => {
    const clock = virtualClock()
    const [, b] = await channelPair(TEST, clock)
    const receiving = fails(b.channel.receive(Count), 'WIRE_TOO_SLOW')
    await clock.advance(4999)
    assert.equal(b.stream.status, 'open')
    await clock.advance(1)
    await receiving
    assert.equal(b.stream.status, 'aborted')
  })

  it('waits without a deadline for a message that may come any time', async () => {
    const clock = virtualClock()
    const [a, b] = await channelPair(TEST, clock)
    const waiting = b.channel.next(Count)
    await clock.advance(86_400_000)
    await a.channel.send(Count, { n: 7 })
    assert.deepEqual(await waiting, { n: 7 })
    await a.stream.close()
    assert.equal(await b.channel.next(Count), undefined)
    await fails(b.channel.receive(Count), 'WIRE_CLOSED')
  })

  it('carries a source into a loop, at the pace of the loop', async () => {
    const [a, b] = await channelPair({ ...TEST, maxFrameBytes: 70_000, maxFrames: 1000 })
    const total = 60
    async function* source(): AsyncGenerator<{ data: Uint8Array }> {
      for (let i = 0; i < total; i++) yield { data: new Uint8Array(60_000).fill(i) }
    }
    const sending = a.channel
      .sink(Blob)(source())
      .then(() => a.stream.close())
    let seen = 0
    for await (const { data } of b.channel.messages(Blob)) assert.equal(data[0], seen++)
    await sending
    assert.equal(seen, total)
  })

  it('ends every wait with its signal', async () => {
    const stop = new AbortController()
    const [, b] = await channelPair(TEST, virtualClock(), stop.signal)
    const waiting = b.channel.next(Count)
    stop.abort(new Error('stopping'))
    await assert.rejects(waiting, /stopping/)
    await assert.rejects(b.channel.send(Count, { n: 1 }), /stopping/)
  })

  it('can be opened on a stream that has ended, or that was reset', async () => {
    const [a, b] = await streamPair()
    const gone = once(b, 'close')
    a.abort(new Error('gone'))
    await gone
    await fails(openChannel(b, TEST, virtualClock(), signal).next(Count), 'WIRE_CLOSED')
  })
})
