/**
 * `rogue-member.ts KEY-FILE ADDRESS` is a member of the home, by its key, that means harm: it greets
 * as it should, and then opens streams without end, sends frames that are too large, damaged or slow
 * on every protocol, and connects again whenever it is cut. At the end of its standard input it
 * prints how often it did what.
 */
import { readFile } from 'node:fs/promises'

import { noise } from '@chainsafe/libp2p-noise'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import type { Connection, Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

import { Hello, HELLO } from '../../../protocols/hello/index.ts'
import { openChannel } from '../../../protocols/wire/index.ts'
import { systemClock } from '../../../node/env.ts'

const [keyFile = '', address = ''] = process.argv.slice(2)
const KITH = [
  '/kith/hello/1.0.0',
  '/kith/members/1.0.0',
  '/kith/telemetry/1.0.0',
  '/kith/pair/1.0.0',
]
const PROTOCOLS = [...KITH, '/ipfs/id/1.0.0', '/ipfs/ping/1.0.0']
const OPENS = 1000
const MANY = 100_000
const OPEN_LIMIT_MS = 2000
const AGAIN_AFTER_MS = 50
/** A length that no limit allows; a frame that is no CBOR; one that never ends. */
const FRAMES = [
  Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0x7f]), Buffer.alloc(64 * 1024)]),
  Buffer.from([4, 0xff, 0xff, 0xff, 0xff]),
  Buffer.from([0xc8, 0x01, 0xa1]),
]

const did = { connected: 0, greeted: 0, opened: 0, refused: 0, frames: 0 }

// KITHKEY1, then the seed.
const seed = (await readFile(keyFile)).subarray(8, 40)
const node = await createLibp2p({
  privateKey: await generateKeyPairFromSeed('Ed25519', seed),
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux({ maxOutboundStreams: MANY, maxInboundStreams: MANY })],
})
for (const protocol of KITH) {
  // Accepts whatever the other side opens, and never reads it.
  await node.handle(protocol, (stream) => stream.pause(), { maxInboundStreams: MANY })
}

function open(connection: Connection, protocol: string): Promise<Stream> {
  const signal = AbortSignal.timeout(OPEN_LIMIT_MS)
  return connection.newStream(protocol, { signal, maxOutboundStreams: MANY })
}

/** Says what the other side said: the same home, the same heads. */
async function greet(connection: Connection): Promise<void> {
  const stream = await open(connection, HELLO.id)
  const signal = AbortSignal.timeout(OPEN_LIMIT_MS)
  const channel = openChannel(stream, HELLO, systemClock, signal)
  const theirs = await channel.receive(Hello)
  await channel.send(Hello, { ...theirs, logs: [] })
  await stream.close({ signal })
  did.greeted++
}

async function harm(connection: Connection): Promise<void> {
  for (const protocol of PROTOCOLS) {
    for (const frame of FRAMES) {
      try {
        const stream = await open(connection, protocol)
        stream.send(frame)
        did.frames++
      } catch {
        did.refused++
      }
    }
  }
  const opening = Array.from({ length: OPENS }, async (_, i) => {
    const protocol = PROTOCOLS[i % PROTOCOLS.length] ?? HELLO.id
    const stream = await open(connection, protocol)
    stream.pause()
  })
  for (const { status } of await Promise.allSettled(opening)) {
    if (status === 'fulfilled') did.opened++
    else did.refused++
  }
}

async function rage(): Promise<void> {
  try {
    const connection = await node.dial(multiaddr(address), {
      signal: AbortSignal.timeout(OPEN_LIMIT_MS),
    })
    did.connected++
    await greet(connection)
    await harm(connection)
    connection.abort(new Error('again'))
  } catch {
    // Cut: come back.
  }
  setTimeout(() => void rage(), AGAIN_AFTER_MS)
}

process.stdout.write('ready\n')
process.stdin
  .on('end', () => process.stdout.write(`${JSON.stringify(did)}\n`, () => process.exit()))
  .resume()
await rage()
