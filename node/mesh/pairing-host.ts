/**
 * Pairing runs on libp2p nodes of its own, which live as long as one pairing window or one dial and
 * serve a single protocol: the mesh's own listener never talks to strangers. Every handshake with a
 * stranger is rationed here as well.
 */
import type { Connection, ConnectionGater } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { Logger } from 'pino'

import { buildCandidate } from '../../protocols/discovery/index.ts'
import { keyOfPeerId, peerIdOf, signerFromSeed } from '../../protocols/identity/index.ts'
import { toHex, type Channel, type Protocol } from '../../protocols/wire/index.ts'
import type { Clock, Random } from '../env.ts'
import { addressesOn, withZone } from './addresses.ts'
import { bindProtocol, bindStream } from './bind.ts'
import { startDiscovery } from './discovery.ts'
import { createGater } from './gater.ts'
import { portOf, startHost } from './host.ts'
import { race } from './race.ts'
import { zonedTcp } from './transport.ts'

export interface PairingHost extends AsyncDisposable {
  /** Multiaddrs with peer id, link-local ones with our zone. */
  readonly addresses: readonly string[]
  /** Found by multicast: without it the other side needs an address, from the QR code. */
  readonly multicast: boolean
}

export interface PairingListenerOptions {
  readonly seed: Uint8Array
  /** The two digits in front of the code. */
  readonly discriminator: string
  /** For the log alone: it never goes on the air. */
  readonly name: string
  readonly protocol: Protocol
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly multicast: boolean
  readonly interfaces?: readonly string[]
  /** One run with one member; throwing resets the stream. `peer` is the key that Noise proved. */
  readonly handle: (channel: Channel, peer: Uint8Array, address: string) => Promise<void>
}

export interface Candidate {
  readonly key: Uint8Array
  /** Ready to dial, without peer id. */
  readonly addresses: readonly string[]
}

const INSTANCE_BYTES = 16
/** Candidates repeat their announcement within this after a query. */
const SETTLE_MS = 1_200
const MAX_CANDIDATES = 16
const MAX_ADDRESSES = 16

/** Candidate: listen on an ephemeral port and announce the pairing service until disposed. */
export async function startPairingListener(
  options: PairingListenerOptions,
  signal: AbortSignal,
): Promise<PairingHost> {
  signal.throwIfAborted()
  const { seed, clock, random, log, protocol, discriminator } = options
  const { key } = signerFromSeed(seed)
  const stop = new AbortController()
  const gate = createGater(clock, (refusal) => log.debug(refusal, 'pairing refused'))
  const host = await startHost({
    seed,
    listen: ['/ip6/::/tcp/0'],
    transport: zonedTcp((remote) => gate.admit(remote)),
    gater: {},
    log,
    bare: true,
  })
  const admit = (): Promise<AbortSignal> => Promise.resolve(stop.signal)
  await bindProtocol(host.node, protocol, { clock, admit }, (bound, peer, connection) =>
    options.handle(bound.channel, peer, connection.remoteAddr.toString()),
  )
  const instance = toHex(random.bytes(INSTANCE_BYTES))
  const port = portOf(host.components)
  const discovery = await startDiscovery({
    service: 'candidates',
    multicast: options.multicast,
    interfaces: options.interfaces,
    clock,
    random,
    log,
    announce(link, ttlSeconds) {
      const addresses = addressesOn(link, port)
      if (addresses.length === 0) return []
      return buildCandidate({ instance, key, discriminator, addresses, ttlSeconds })
    },
    onSighting: () => {},
  })
  let stopping: Promise<void> | undefined
  const close = async (): Promise<void> => {
    stop.abort(new Error('pairing is closed'))
    await discovery[Symbol.asyncDispose]()
    await host.node.stop()
  }
  const dispose = (): Promise<void> => (stopping ??= close())
  signal.addEventListener('abort', () => void dispose(), { once: true })
  log.info({ name: options.name, port }, 'pairing window open')
  return {
    get addresses() {
      const all = host.components.transportManager.getAddrs()
      return all.map((address) => `${address.toString()}/p2p/${peerIdOf(key)}`)
    },
    get multicast() {
      return discovery.works
    },
    [Symbol.asyncDispose]: dispose,
  }
}

/**
 * Owner: every candidate that announces `discriminator`. Returns a moment after the first was heard,
 * so that a second one with the same number is seen too, or with none after `waitMs`. More than one
 * is ambiguous.
 */
export async function findCandidates(
  options: {
    readonly discriminator: string
    readonly waitMs: number
    readonly clock: Clock
    readonly random: Random
    readonly log: Logger
    readonly interfaces?: readonly string[]
    /** So many so far. */
    readonly onProgress?: (found: number) => void
  },
  signal: AbortSignal,
): Promise<readonly Candidate[]> {
  const { clock, random, log, interfaces, discriminator } = options
  const found = new Map<string, Candidate>()
  const heard = Promise.withResolvers<void>()
  await using discovery = await startDiscovery({
    service: 'candidates',
    multicast: true,
    interfaces,
    clock,
    random,
    log,
    announce: () => [],
    onSighting({ candidates }, link) {
      for (const candidate of candidates) {
        if (candidate.discriminator !== discriminator) continue
        const peer = peerIdOf(candidate.key)
        if (candidate.ttlSeconds === 0) found.delete(peer)
        else if (found.has(peer) || found.size < MAX_CANDIDATES) {
          const zoned = candidate.addresses.map((address) => withZone(address, link))
          const known = found.get(peer)?.addresses ?? []
          const addresses = [...new Set([...known, ...zoned])].slice(0, MAX_ADDRESSES)
          found.set(peer, { key: candidate.key, addresses })
        }
        options.onProgress?.(found.size)
        if (found.size > 0) clock.timer(SETTLE_MS, heard.resolve)
      }
    },
  })
  discovery.setHunting(true)
  const done = new AbortController()
  const waited = clock.sleep(options.waitMs, AbortSignal.any([signal, done.signal]))
  try {
    await Promise.race([waited, heard.promise])
  } finally {
    done.abort()
    waited.catch(() => undefined)
  }
  return [...found.values()]
}

/**
 * Owner: dial one candidate from a throw-away node and hand its channel to `run`.
 *
 * @throws AggregateError where no address answers with `key`; whatever `run` throws
 */
export async function dialCandidate<T>(
  options: {
    readonly seed: Uint8Array
    readonly key: Uint8Array
    readonly addresses: readonly string[]
    readonly protocol: Protocol
    readonly clock: Clock
    readonly log: Logger
  },
  run: (channel: Channel, peer: Uint8Array) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const { seed, key, clock, log, protocol } = options
  const peer = peerIdOf(key)
  const gater: ConnectionGater = {
    denyInboundConnection: () => true,
    denyOutboundEncryptedConnection: (proved) => proved.toString() !== peer,
  }
  const transport = zonedTcp(() => undefined)
  const host = await startHost({ seed, listen: [], transport, gater, log, bare: true })
  try {
    const attempt = (address: string, until: AbortSignal): Promise<Connection> => {
      const [bare = ''] = address.split('/p2p/')
      const target = multiaddr(`${bare}/p2p/${peer}`)
      return host.components.transportManager.dial(target, { signal: until })
    }
    const connection = await race(options.addresses, attempt, clock, signal)
    const stream = await connection.newStream(protocol.id, { signal })
    await using bound = bindStream(stream, protocol, clock, signal)
    return await run(bound.channel, keyOfPeerId(connection.remotePeer.toString()))
  } finally {
    await host.node.stop()
  }
}
