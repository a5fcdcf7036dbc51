/**
 * A js-libp2p node as anybody would write it, with the stock TCP transport and the stock mDNS module.
 * `plain-libp2p.ts discover` prints each peer that it discovers, one JSON line each, until it is
 * killed. `plain-libp2p.ts knock TIMES ADDRESS` dials a multiaddr again and again, asks for every
 * protocol that it can, and prints how far it came.
 */
import { noise } from '@chainsafe/libp2p-noise'
import { identify } from '@libp2p/identify'
import { mdns } from '@libp2p/mdns'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const ASK_EVERY_MS = 1000
const KNOCK_LIMIT_MS = 5000
const TRIED = ['/ipfs/id/1.0.0', '/ipfs/ping/1.0.0', '/kith/hello/1.0.0', '/kith/pair/1.0.0']

const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`)

async function discover(): Promise<void> {
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/0.0.0.0/tcp/4747', '/ip6/::/tcp/4747'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    peerDiscovery: [mdns({ interval: ASK_EVERY_MS })],
    services: { identify: identify(), ping: ping() },
  })
  say({ self: node.peerId.toString(), addrs: node.getMultiaddrs().map(String) })
  node.addEventListener('peer:discovery', ({ detail }) =>
    say({ peer: detail.id.toString(), addrs: detail.multiaddrs.map(String) }),
  )
}

async function knock(times: number, address: string): Promise<void> {
  let opened = 0
  let answered = 0
  for (let i = 0; i < times; i++) {
    const node = await createLibp2p({
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      services: { identify: identify({ runOnConnectionOpen: false }) },
    })
    try {
      const signal = AbortSignal.timeout(KNOCK_LIMIT_MS)
      const connection = await node.dial(multiaddr(address), { signal })
      // Noise ends on our side before the other has looked at the key.
      opened++
      for (const protocol of TRIED) {
        const stream = await connection.newStream(protocol, { signal })
        answered++
        stream.abort(new Error('enough'))
      }
    } catch {
      // Refused: what was counted until here tells how far it came.
    }
    await node.stop()
  }
  say({ times, opened, answered })
}

const [role, times = '1', address = ''] = process.argv.slice(2)
await (role === 'discover' ? discover() : knock(Number(times), address))
