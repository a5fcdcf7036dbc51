import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, describe, it } from 'node:test'

import { noise } from '@chainsafe/libp2p-noise'
import { tcp } from '@libp2p/tcp'
import { byteStream } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { pino } from 'pino'

import { systemClock, systemRandom } from '../../node/env.ts'
import { startMesh, type Mesh, type MeshEvents, type MeshOptions } from '../../node/mesh/mesh.ts'
import { migration } from '../../node/storage/datastore.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { peerIdOf, signerFromSeed } from '../../protocols/identity/index.ts'
import { field, message, uint, type Protocol } from '../../protocols/wire/index.ts'

const LIMITS = {
  maxFrameBytes: 64,
  maxFrames: 1000,
  maxInboundStreams: 4,
  maxOutboundStreams: 8,
  messageDeadlineMs: 500,
}
const GREET: Protocol = { id: '/kith/hello/1.0.0', ...LIMITS }
const ECHO: Protocol = { id: '/kith/echo/1.0.0', ...LIMITS }
const Count = message('count', { n: field(1, uint(1_000_000)) }, { maxBytes: 32 })

const seedOf = (n: number): Uint8Array => new Uint8Array(32).fill(n)
const keyOf = (n: number): Uint8Array => signerFromSeed(seedOf(n)).key

const stop = new AbortController()
const running: Mesh[] = []
after(async () => {
  for (const mesh of running) await mesh[Symbol.asyncDispose]()
})

const greet: MeshOptions['greet']['run'] = async (channel, _peer, side) => {
  if (side === 'dialer') await channel.send(Count, { n: 1 })
  assert.deepEqual(await channel.receive(Count), { n: side === 'dialer' ? 2 : 1 })
  if (side === 'listener') await channel.send(Count, { n: 2 })
}

async function start(n: number, options: Partial<MeshOptions> = {}): Promise<Mesh> {
  const mesh = await startMesh(
    {
      seed: seedOf(n),
      port: 0,
      multicast: false,
      clock: systemClock,
      random: systemRandom,
      log: pino({ level: 'silent' }),
      greet: { protocol: GREET, run: greet },
      ...options,
    },
    stop.signal,
  )
  running.push(mesh)
  return mesh
}

function loopback(mesh: Mesh): string {
  const found = mesh.addresses().find((address) => address.startsWith('/ip6/::1/'))
  assert.ok(found)
  return found
}

function next<K extends keyof MeshEvents>(mesh: Mesh, name: K): Promise<MeshEvents[K]> {
  return new Promise((resolve) => {
    const off = mesh.events.on(name, (event) => {
      off()
      resolve(event)
    })
  })
}

/** Two members that know each other's way. */
async function pair(n: number, options: Partial<MeshOptions> = {}): Promise<[Mesh, Mesh]> {
  const a = await start(n)
  const b = await start(n + 1, { directPeers: [loopback(a)], ...options })
  await a.serve(ECHO, async (channel) => {
    for await (const { n: value } of channel.messages(Count)) {
      await channel.send(Count, { n: value + 1 })
    }
  })
  return [a, b]
}

function join(a: Mesh, b: Mesh): void {
  a.setMembers([b.key])
  b.setMembers([a.key])
}

describe('the mesh', () => {
  it('connects members, greets once on each side, and carries messages', async () => {
    const [a, b] = await pair(10)
    const connected = Promise.all([next(a, 'connect'), next(b, 'connect')])
    join(a, b)
    const [atA, atB] = await connected
    assert.deepEqual([atA.key, atB.key], [b.key, a.key])
    await using stream = await b.open(a.key, ECHO, stop.signal)
    await stream.channel.send(Count, { n: 41 })
    assert.deepEqual(await stream.channel.receive(Count), { n: 42 })
    assert.deepEqual(
      a.peers().map((peer) => [peer.key, peer.direction]),
      [[b.key, 'inbound']],
    )
  })

  it('cuts a removed member at once and does not let it back', async () => {
    const [a, b] = await pair(12)
    join(a, b)
    await using stream = await b.open(a.key, ECHO, stop.signal)
    const gone = next(b, 'disconnect')
    const refused = next(a, 'refused')
    const before = performance.now()
    a.setMembers([])
    assert.deepEqual(a.peers(), [])
    await gone
    assert.ok(performance.now() - before < 2000)
    assert.ok(stream.signal.aborted)
    assert.deepEqual((await refused).key, b.key)
    await assert.rejects(b.open(keyOf(99), ECHO, stop.signal), { code: 'NODE_DENIED' })
  })

  it('refuses a stranger after Noise, before any protocol is named', async () => {
    const a = await start(14)
    a.setMembers([keyOf(15)])
    const stranger = await createLibp2p({
      privateKey: await generateKeyPairFromSeed('Ed25519', seedOf(16)),
      addresses: { listen: [] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
    })
    try {
      const refused = next(a, 'refused')
      const asked = async (): Promise<void> => {
        const stream = await stranger.dialProtocol(multiaddr(loopback(a)), '/ipfs/id/1.0.0')
        await byteStream(stream).read()
      }
      await assert.rejects(asked())
      const { key, why } = await refused
      assert.deepEqual(key, keyOf(16))
      assert.equal(why, 'not a member')
      assert.equal(a.refusedCount, 1)
      assert.deepEqual(a.peers(), [])
    } finally {
      await stranger.stop()
    }
  })

  it('lets no stream through before the greeting, and none where it fails', async () => {
    let served = 0
    const a = await start(18, {
      greet: {
        protocol: GREET,
        async run(channel) {
          await channel.receive(Count)
          throw new Error('another home')
        },
      },
    })
    await a.serve(ECHO, async () => {
      served++
      await Promise.resolve()
    })
    const closed = Promise.withResolvers<void>()
    const b = await start(19, {
      directPeers: [loopback(a)],
      greet: {
        protocol: GREET,
        async run(channel) {
          try {
            await channel.send(Count, { n: 1 })
            await channel.receive(Count)
          } finally {
            closed.resolve()
          }
        },
      },
    })
    join(a, b)
    await closed.promise
    const soon = AbortSignal.timeout(300)
    await assert.rejects(b.open(a.key, ECHO, soon))
    assert.equal(served, 0)
    assert.deepEqual([a.peers(), b.peers()], [[], []])
  })

  it('comes back after the peer was gone', async () => {
    const [a, b] = await pair(20)
    join(a, b)
    await using _first = await b.open(a.key, ECHO, stop.signal)
    const back = new Promise<void>((resolve) => {
      b.events.on('disconnect', () => b.events.on('connect', () => resolve()))
    })
    a.cut(b.key)
    await back
    await using stream = await b.open(a.key, ECHO, stop.signal)
    await stream.channel.send(Count, { n: 1 })
    assert.deepEqual(await stream.channel.receive(Count), { n: 2 })
  })

  it('gives one member no more streams than the protocol allows', async () => {
    const [a, b] = await pair(22)
    join(a, b)
    const opened = await Promise.allSettled(
      Array.from({ length: 8 }, async (_, i) => {
        const stream = await b.open(a.key, ECHO, stop.signal)
        await stream.channel.send(Count, { n: i })
        await stream.channel.receive(Count)
        return stream
      }),
    )
    const working = opened.filter(({ status }) => status === 'fulfilled')
    assert.equal(working.length, LIMITS.maxInboundStreams)
    assert.equal(b.peers().length, 1, 'the connection itself stays')
    for (const result of opened) {
      if (result.status === 'fulfilled') await result.value[Symbol.asyncDispose]()
    }
  })

  it('resets a stream whose handler throws and keeps the connection', async () => {
    const [a, b] = await pair(24)
    const failing: Protocol = { ...ECHO, id: '/kith/failing/1.0.0' }
    await a.serve(failing, () => Promise.reject(new Error('our bug')))
    join(a, b)
    const stream = await b.open(a.key, failing, stop.signal)
    await assert.rejects(stream.channel.receive(Count))
    assert.equal(b.peers().length, 1)
  })

  it('listens on another port where its own is taken', async () => {
    const a = await start(26)
    const port = Number(/tcp\/([0-9]+)/.exec(loopback(a))?.[1])
    const b = await start(27, { port })
    assert.notEqual(loopback(b).split('/p2p/')[0], loopback(a).split('/p2p/')[0])
  })

  it('stays reachable for a member while thirty sockets say nothing', async () => {
    const [a, b] = await pair(28)
    const port = Number(/tcp\/([0-9]+)/.exec(loopback(a))?.[1])
    const silent = Array.from({ length: 30 }, () =>
      connect({ port, host: '::1' }).on('error', () => {}),
    )
    await Promise.all(silent.map((socket) => once(socket, 'connect')))
    const connected = next(b, 'connect')
    join(a, b)
    await connected
    for (const socket of silent) socket.destroy()
  })

  it('remembers where a member was reached, and dials there after a restart', async () => {
    const db = openDatabase(':memory:', [migration])
    const [a, b] = await pair(30, { datastoreDb: db })
    const connected = next(b, 'connect')
    join(a, b)
    await connected
    await b[Symbol.asyncDispose]()
    const again = await start(31, { datastoreDb: db })
    const back = next(again, 'connect')
    again.setMembers([a.key])
    assert.deepEqual((await back).key, a.key)
    await again[Symbol.asyncDispose]()
    db.close()
  })

  it('says that it works without multicast', async () => {
    const a = await start(32)
    assert.equal(a.multicast, false)
    assert.ok(loopback(a).endsWith(`/p2p/${peerIdOf(a.key)}`))
  })
})
