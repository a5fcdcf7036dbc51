/**
 * The peer to compare with: a libp2p node with the modules that Kith uses and nothing else, in a
 * process of its own. It says where it listens, who connected, and how long echoes and questions took.
 *
 *   bare-peer.ts listen [--mdns] [--file=FILE]      bare-peer.ts dial ADDRESS
 */
import process from 'node:process'

import { noise } from '@chainsafe/libp2p-noise'
import { identify } from '@libp2p/identify'
import type { Connection, Stream } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { byteStream } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

import { writeSmallFile } from '../../node/machine/bounded.ts'

const ECHO = '/bench/echo/1.0.0'
/** Its first question begins with the lengths of questions and answers, two bytes each. */
const ASK = '/bench/ask/1.0.0'

const [mode, ...rest] = process.argv.slice(2)
/** Written before each answer. */
const file = rest.find((one) => one.startsWith('--file='))?.slice('--file='.length)
const node = await createLibp2p({
  addresses: { listen: ['/ip6/::1/tcp/0'] },
  transports: [tcp({ dialOpts: { noDelay: true }, listenOpts: { noDelay: true } })],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  // It would end a connection that answers late on a busy machine.
  connectionMonitor: { enabled: false },
  services: { identify: identify(), ping: ping() },
  peerDiscovery: rest.includes('--mdns') ? [mdns()] : [],
})
await node.handle(ECHO, (stream: Stream) => {
  stream.addEventListener('message', ({ data }) => void stream.send(data))
})
await node.handle(ASK, (stream: Stream) => void reply(stream).catch(() => undefined))
node.addEventListener('connection:open', () => tell({ type: 'connected' }))
tell({ type: 'listening', address: node.getMultiaddrs()[0]?.toString() ?? '' })

if (mode === 'dial') {
  const connection = await node.dial(multiaddr(rest[0] ?? ''))
  process.on('message', (message) => void answer(connection, message))
}
process.once('SIGTERM', () => process.exit(0))

function tell(message: Readonly<Record<string, unknown>>): void {
  process.send?.(message)
}

interface Wish {
  readonly count: number
  readonly bytes: number
  /** Of an answer; as many as were sent where it is absent. */
  readonly answerBytes?: number
}

/** So many round trips one after the other, in ms each. */
async function answer(connection: Connection, message: unknown): Promise<void> {
  const { count, bytes, answerBytes } = message as Wish
  const stream = await connection.newStream(answerBytes === undefined ? ECHO : ASK)
  const pipe = byteStream(stream)
  const payload = new Uint8Array(bytes)
  new DataView(payload.buffer).setUint16(0, bytes)
  new DataView(payload.buffer).setUint16(2, answerBytes ?? bytes)
  const tookMs: number[] = []
  for (let i = 0; i < count; i++) {
    const startedMs = performance.now()
    await pipe.write(payload)
    await pipe.read({ bytes: answerBytes ?? bytes })
    tookMs.push(performance.now() - startedMs)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await stream.close()
  tell({ type: 'echoed', tookMs })
}

/** Until the stream ends. */
async function reply(stream: Stream): Promise<void> {
  const pipe = byteStream(stream)
  const head = (await pipe.read({ bytes: 4 })).subarray()
  const lengths = new DataView(head.buffer, head.byteOffset)
  const bytes = lengths.getUint16(0)
  const payload = new Uint8Array(lengths.getUint16(2))
  await pipe.read({ bytes: bytes - head.length })
  for (let i = 0; ; i++) {
    if (file !== undefined) await writeSmallFile(file, String(i % 100))
    await pipe.write(payload)
    await pipe.read({ bytes })
  }
}
