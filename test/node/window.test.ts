import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Stream } from '@libp2p/interface'
import { multiaddrConnectionPair } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'

import { spareUpdates, TELL_AFTER_PART } from '../../node/mesh/window.ts'

/** First byte and type of a yamux header: version 0, window update (hashicorp/yamux spec.md). */
const VERSION = 0
const WINDOW_UPDATE = 1
const HEADER_BYTES = 12
const WINDOW_BYTES = 256 * 1024

interface Pair {
  readonly from: Stream
  readonly to: Stream
  /** Window updates that the receiver's side wrote. */
  readonly updates: () => number
}

/** Two ends of one stream over two real muxers; the receiving end is spared. */
async function connected(): Promise<Pair> {
  const [near, far] = multiaddrConnectionPair()
  let updates = 0
  near.addEventListener('message', ({ data }) => {
    const bytes = data.subarray()
    if (bytes.length !== HEADER_BYTES || bytes[0] !== VERSION) return
    if (bytes[1] === WINDOW_UPDATE) updates++
  })
  const [sender, receiver] = [near, far].map((end) =>
    yamux({
      enableKeepAlive: false,
      streamOptions: { initialStreamWindowSize: WINDOW_BYTES },
    })().createStreamMuxer(end),
  )
  assert.ok(sender !== undefined && receiver !== undefined)
  const opened = new Promise<Stream>((resolve) => {
    receiver.addEventListener('stream', ({ detail }) => {
      spareUpdates(detail)
      resolve(detail)
    })
  })
  const from = await sender.createStream()
  from.send(new Uint8Array(1))
  return { from, to: await opened, updates: () => updates }
}

function received(stream: Stream, bytes: number): Promise<void> {
  let left = bytes
  return new Promise((resolve) => {
    stream.addEventListener('message', ({ data }) => {
      left -= data.byteLength
      if (left <= 0) resolve()
    })
  })
}

describe('flow control', () => {
  it('says nothing for small messages', async () => {
    const { from, to, updates } = await connected()
    const done = received(to, 100 * 100)
    const before = updates()
    for (let i = 0; i < 100; i++) from.send(new Uint8Array(100))
    await done
    assert.ok(updates() - before <= 1, `${updates() - before} updates`)
  })

  it('lets through much more than one window, with a word for each part of it', async () => {
    const { from, to, updates } = await connected()
    const total = 4 * 1024 * 1024
    const done = received(to, total)
    const piece = new Uint8Array(10_000)
    for (let sent = 0; sent < total; sent += piece.length) {
      if (!from.send(piece)) await new Promise((resolve) => from.addEventListener('drain', resolve))
    }
    await done
    const most = total / (TELL_AFTER_PART * WINDOW_BYTES) + 2
    assert.ok(updates() >= 1 && updates() <= most, `${updates()} updates`)
  })

  it('goes on after a reader that paused, whatever came meanwhile', async () => {
    const { from, to } = await connected()
    to.send(new Uint8Array(1))
    const first = received(to, 1000)
    from.send(new Uint8Array(1000))
    await first
    for (const whilePaused of [10_000, 70_000, 200_000, 400_000]) {
      const total = whilePaused + 1024 * 1024
      const done = received(to, total)
      to.pause()
      for (let sent = 0; sent < total; sent += 10_000) from.send(new Uint8Array(10_000))
      // What is sent fills the window before anything is read.
      await new Promise((resolve) => setImmediate(resolve))
      to.resume()
      await done
    }
  })

  it('tells after a pause what came during it', () => {
    const told: number[] = []
    // As a yamux stream: it tells nothing while it is paused.
    const flow = {
      state: 3,
      recvWindow: WINDOW_BYTES,
      unsaid: 0,
      handleData({ header }: { header: { length: number } }) {
        flow.unsaid += header.length
        flow.sendWindowUpdate()
      },
      sendWindowUpdate() {
        if (flow.state === 5) return
        told.push(flow.unsaid)
        flow.unsaid = 0
      },
    }
    spareUpdates(flow as never)
    flow.state = 5
    for (let i = 0; i < 4; i++) flow.handleData({ header: { length: WINDOW_BYTES / 4 } })
    flow.state = 3
    flow.sendWindowUpdate()
    assert.deepEqual(told, [WINDOW_BYTES])
  })

  it('goes on after a pause in which all of the window was used', async () => {
    const { from, to } = await connected()
    to.pause()
    const total = 1024 * 1024
    for (let sent = 0; sent < total; sent += 10_000) from.send(new Uint8Array(10_000))
    for (let turn = 0; (to.readBufferLength ?? 0) < 262_144 && turn < 10_000; turn++) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    const done = received(to, total)
    to.resume()
    await done
  })

  it('leaves streams of other muxers alone', () => {
    const other = { send: () => true }
    spareUpdates(other as never)
    assert.deepEqual(Object.keys(other), ['send'])
  })
})
