/** A libp2p node with every limit set: Noise, yamux, identify and ping over zoned TCP. */
import { noise } from '@chainsafe/libp2p-noise'
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import type {
  Connection,
  ConnectionGater,
  Libp2p,
  PeerDiscovery,
  PrivateKey,
} from '@libp2p/interface'
import { ping } from '@libp2p/ping'
import { yamux } from '@libp2p/yamux'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import type { Datastore } from 'interface-datastore'
import { createLibp2p } from 'libp2p'
import type { Logger } from 'pino'

import { signerFromSeed } from '../../protocols/identity/index.ts'
import { concatBytes } from '../../protocols/wire/index.ts'
import { mayCrossWire } from './addresses.ts'
import { libp2pLogger } from './libp2p-log.ts'
import type { ZonedTcp } from './transport.ts'

export interface HostOptions {
  readonly seed: Uint8Array
  /** Multiaddrs. */
  readonly listen: readonly string[]
  readonly transport: ZonedTcp
  readonly gater: ConnectionGater
  readonly log: Logger
  readonly datastore?: Datastore | undefined
  /** Hosts whose connections libp2p always accepts. */
  readonly allowHosts?: readonly string[]
  /** Without identify and ping: nothing is served but what is bound. */
  readonly bare?: boolean
  /** Without identify: nobody asks a device that is gone in a second where it is. */
  readonly brief?: boolean
  readonly discovery?: ((components: HostComponents) => PeerDiscovery) | undefined
}

export interface Host {
  readonly node: Libp2p
  readonly components: HostComponents
}

/** The parts of libp2p that its own interface does not show. */
export interface HostComponents {
  readonly transportManager: {
    /** Dial one address, beside libp2p's queue. */
    dial(address: Multiaddr, options: { readonly signal: AbortSignal }): Promise<Connection>
    listen(addresses: readonly Multiaddr[]): Promise<void>
    getAddrs(): Multiaddr[]
  }
}

/** PROTOCOLS: a stranger can cost one refused handshake, a member a bounded number of streams. */
const LIMITS = {
  maxConnections: 256,
  maxIncomingPendingConnections: 64,
  inboundUpgradeTimeoutMs: 3000,
  /** From one host in a second. Several devices may share a machine. */
  inboundConnectionThreshold: 16,
  maxStreams: 64,
  /** Above what a member may open, room for identify and ping. */
  windowBytes: 256 * 1024,
  maxWindowBytes: 2 * 1024 * 1024,
  protocolNegotiationMs: 3000,
} as const

/** libp2p itself finds the public key in JavaScript, which takes 40 ms of a cold start. */
function privateKeyOf(seed: Uint8Array): PrivateKey {
  return privateKeyFromRaw(concatBytes(seed, signerFromSeed(seed).key))
}

export async function startHost(options: HostOptions): Promise<Host> {
  let components: HostComponents | undefined
  const { discovery } = options
  const isPlain = options.bare === true || options.brief === true
  // Loaded where it is used: a device that is awake for a moment pays for every module.
  const identify = isPlain ? {} : { identify: (await import('./identify.ts')).zonelessIdentify() }
  const node = await createLibp2p({
    start: false,
    privateKey: privateKeyOf(options.seed),
    addresses: {
      listen: [...options.listen],
      announceFilter: (addresses) => addresses.filter(mayCrossWire),
    },
    transports: [options.transport.create],
    connectionEncrypters: [noise()],
    streamMuxers: [
      yamux({
        maxInboundStreams: LIMITS.maxStreams,
        maxOutboundStreams: LIMITS.maxStreams,
        enableKeepAlive: false,
        streamOptions: {
          initialStreamWindowSize: LIMITS.windowBytes,
          maxStreamWindowSize: LIMITS.maxWindowBytes,
        },
      }),
    ],
    connectionGater: options.gater,
    connectionManager: {
      maxConnections: LIMITS.maxConnections,
      maxIncomingPendingConnections: LIMITS.maxIncomingPendingConnections,
      inboundUpgradeTimeout: LIMITS.inboundUpgradeTimeoutMs,
      inboundConnectionThreshold: LIMITS.inboundConnectionThreshold,
      inboundStreamProtocolNegotiationTimeout: LIMITS.protocolNegotiationMs,
      outboundStreamProtocolNegotiationTimeout: LIMITS.protocolNegotiationMs,
      allow: (options.allowHosts ?? []).map(exactHost),
    },
    // Probes with a reason find a dead peer sooner; dialing.ts makes them.
    connectionMonitor: { enabled: false },
    services: {
      ...(options.bare === true ? {} : { ping: ping() }),
      ...identify,
      parts: (parts: HostComponents) => {
        components = parts
        return {}
      },
    },
    peerDiscovery: discovery === undefined ? [] : [discovery],
    logger: libp2pLogger(options.log),
    ...(options.datastore === undefined ? {} : { datastore: options.datastore }),
  })
  if (components === undefined) throw new Error('libp2p made no services')
  try {
    await node.start()
  } catch (error) {
    await node.stop()
    throw error
  }
  return { node, components }
}

/** Listen on `port` over IPv6, or on an ephemeral one where it is taken. */
export async function startHostOn(
  port: number,
  options: Omit<HostOptions, 'listen'>,
): Promise<Host> {
  try {
    return await startHost({ ...options, listen: [`/ip6/::/tcp/${port}`] })
  } catch (error) {
    if (port === 0) throw error
    options.log.warn({ port, err: error }, 'port is taken, listening on another')
    return await startHost({ ...options, listen: ['/ip6/::/tcp/0'] })
  }
}

/** The TCP port that `node` listens on over IPv6. */
export function portOf(components: HostComponents): number {
  for (const address of components.transportManager.getAddrs()) {
    const port = /\/ip6\/[^/]+\/tcp\/([0-9]+)/.exec(address.toString())?.[1]
    if (port !== undefined) return Number(port)
  }
  return 0
}

function exactHost(host: string): string {
  const address = host.includes(':') ? `/ip6/${host}/ipcidr/128` : `/ip4/${host}/ipcidr/32`
  return multiaddr(address).toString()
}
