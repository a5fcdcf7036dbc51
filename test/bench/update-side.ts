/**
 * One end of a transfer in a process of its own: chunks of a release through the exchange of two
 * meshes, or the same bytes through one stream of two bare libp2p nodes. Prints what it cost.
 *
 *   update-side.ts exchange|bare ADDRESS|listen MEGABYTES FOLDER|memory
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import process from 'node:process'

import { noise } from '@chainsafe/libp2p-noise'
import type { Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import pino from 'pino'

import { systemClock, systemRandom } from '../../node/env.ts'
import { startMesh } from '../../node/mesh/mesh.ts'
import { startExchange, type ExchangeDeps } from '../../node/services/update/exchange.ts'
import { openBlobs, rawOf, type Blob } from '../../node/storage/blobs.ts'
import { createVerifier, signerFromSeed } from '../../protocols/identity/index.ts'
import { encodeIndex, type OpenedIndex } from '../../protocols/update/index.ts'

const CHUNK_BYTES = 65_536
const PROTOCOL = '/bench/bulk/1.0.0'
const GREETING = {
  id: '/kith/bench-hello/1.0.0',
  maxFrameBytes: 64,
  maxFrames: 2,
  maxInboundStreams: 1,
  maxOutboundStreams: 1,
  messageDeadlineMs: 5_000,
} as const

const [mode, where = 'listen', megabytes = '64', folder = ''] = process.argv.slice(2)
const count = Math.floor((Number(megabytes) * 1_000_000) / CHUNK_BYTES)
const listens = where === 'listen'
const seed = new Uint8Array(32).fill(listens ? 1 : 2)
const otherSeed = new Uint8Array(32).fill(listens ? 2 : 1)

let used = process.cpuUsage()
let startedMs = performance.now()
process.once('SIGTERM', () => process.exit(0))
process.on('message', () => {
  tell({ type: 'cost', ...cost() })
})

function begin(): void {
  used = process.cpuUsage()
  startedMs = performance.now()
}

function cost(): { cpuMs: number; tookMs: number } {
  const { user, system } = process.cpuUsage(used)
  return { cpuMs: (user + system) / 1000, tookMs: performance.now() - startedMs }
}

function tell(message: Readonly<Record<string, unknown>>): void {
  process.send?.(message)
}

/** The same noise on both sides, without sending it. */
function chunkOf(n: number): Uint8Array {
  const out = new Uint8Array(CHUNK_BYTES)
  const block = createHash('sha512').update(String(n)).digest()
  for (let at = 0; at < CHUNK_BYTES; at += 64) out.set(block, at)
  return out
}

function release(): { opened: OpenedIndex; chunks: readonly Uint8Array[] } {
  const chunks = Array.from({ length: count }, (_, n) => chunkOf(n))
  const rows = chunks.map((bytes) => ({
    hash: new Uint8Array(createHash('sha256').update(bytes).digest()),
    raw: CHUNK_BYTES,
    stored: CHUNK_BYTES,
    codec: 0 as const,
  }))
  const opened = encodeIndex({
    v: 1,
    name: 'bench',
    version: '1',
    build: 1,
    for: { hardware: [], arch: [], groups: [], requires: [] },
    installer: 'exec',
    args: {},
    form: 'file',
    rawBytes: count * CHUNK_BYTES,
    rawHash: new Uint8Array(32),
    chunks: rows,
  })
  return { opened, chunks }
}

async function exchange(): Promise<void> {
  const stop = new AbortController()
  const log = pino({ level: 'silent' })
  const { opened, chunks } = release()
  const mesh = await startMesh(
    {
      seed,
      port: 0,
      multicast: false,
      directPeers: listens ? [] : [where],
      clock: systemClock,
      random: systemRandom,
      log,
      greet: { protocol: GREETING, run: () => Promise.resolve() },
    },
    stop.signal,
  )
  const blobs =
    folder === 'memory'
      ? inMemory()
      : await openBlobs({ folder, maxBytes: 8e9, clock: systemClock })
  if (listens) {
    for (const [n, bytes] of chunks.entries()) {
      const [chunk] = opened.chunks.slice(n)
      if (chunk !== undefined) await blobs.put(chunk, { codec: 0, bytes }, { verified: true })
    }
  }
  const node = await startExchange(
    {
      mesh,
      blobs,
      clock: systemClock,
      random: systemRandom,
      log,
      home: new Uint8Array(32),
      verifier: createVerifier(),
      allows: () => true,
      isMember: () => true,
      file: () => Promise.resolve(undefined),
    },
    stop.signal,
  )
  if (listens) node.offer(opened)
  const met = new Promise<void>((resolve) => {
    node.events.on('offer', () => resolve())
  })
  mesh.setMembers([signerFromSeed(otherSeed).key])
  const address = mesh.addresses().find((one) => one.startsWith('/ip6/::1/')) ?? mesh.addresses()[0]
  tell({ type: 'listening', address })
  await met
  begin()
  tell({ type: 'connected' })
  if (listens) return
  const result = await node.fetch(opened, stop.signal)
  tell({ type: 'done', ...cost(), wasted: result.wastedBytes })
}

/** Checks what it is given, and keeps it without a disk. What came here is not sent on: it is let go. */
function inMemory(): ExchangeDeps['blobs'] {
  const kept = new Map<string, Blob | undefined>()
  const nameOf = (hash: Uint8Array): string => Buffer.from(hash).toString('latin1')
  return {
    has: (hash) => kept.has(nameOf(hash)),
    get: (hash) => Promise.resolve(kept.get(nameOf(hash))),
    async put(chunk, blob) {
      rawOf(chunk, blob)
      kept.set(nameOf(chunk.hash), listens ? blob : undefined)
    },
    flush: () => Promise.resolve(),
    onGone: () => () => undefined,
  }
}

async function bare(): Promise<void> {
  const node = await createLibp2p({
    addresses: { listen: listens ? ['/ip6/::1/tcp/0'] : [] },
    transports: [tcp({ dialOpts: { noDelay: true }, listenOpts: { noDelay: true } })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
  })
  if (listens) {
    const bytes = chunkOf(0)
    await node.handle(PROTOCOL, async (stream: Stream) => {
      begin()
      for (let n = 0; n < count; n++) if (!stream.send(bytes)) await once(stream as never, 'drain')
      await stream.close()
    })
    tell({ type: 'listening', address: node.getMultiaddrs()[0]?.toString() ?? '' })
    return
  }
  const connection = await node.dial(multiaddr(where))
  begin()
  const stream = await connection.newStream(PROTOCOL)
  let got = 0
  stream.addEventListener('message', ({ data }) => {
    got += data.byteLength
    if (got === count * CHUNK_BYTES) tell({ type: 'done', ...cost(), wasted: 0 })
  })
}

await (mode === 'bare' ? bare() : exchange())
