/**
 * libp2p's own mDNS module, which speaks IPv4 multicast: it serves where there is IPv4, so that plain
 * libp2p nodes on a dual-stack LAN see us and are seen. Whatever it hears passes the same filters as
 * our own packets, and libp2p's peer store is told of members alone.
 */
import {
  peerDiscoverySymbol,
  type PeerDiscovery,
  type PeerDiscoveryEvents,
  type PeerInfo,
} from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { multiaddr } from '@multiformats/multiaddr'
import { TypedEventEmitter } from 'main-event'

import { parseAddress } from '../../protocols/discovery/index.ts'
import { isLinkLocal } from './addresses.ts'

type MdnsComponents = Parameters<ReturnType<typeof mdns>>[0]

export interface StockMdnsDeps {
  /** There is an IPv4 address outside of loopback. */
  readonly hasIp4: () => boolean
  readonly isMember: (peer: string) => boolean
  readonly onHeard: (peer: string, addresses: readonly string[]) => void
}

export interface StockMdns {
  readonly create: (components: unknown) => PeerDiscovery
  /** Start or stop the module after the links have changed; start it anew where they have IPv4. */
  follow(): Promise<void>
}

/** The module asks at this interval for as long as it runs. */
const ASK_EVERY_MS = 10_000

export function stockMdns(deps: StockMdnsDeps): StockMdns {
  let discovery: FilteredMdns | undefined
  return {
    create(components) {
      discovery = new FilteredMdns(components as MdnsComponents, deps)
      return discovery
    },
    async follow() {
      await discovery?.follow()
    },
  }
}

class FilteredMdns extends TypedEventEmitter<PeerDiscoveryEvents> implements PeerDiscovery {
  readonly [peerDiscoverySymbol] = this
  readonly [Symbol.toStringTag] = '@kith/stock-mdns'
  readonly #components: MdnsComponents
  readonly #deps: StockMdnsDeps
  #module: ReturnType<ReturnType<typeof mdns>> | undefined
  #started = false
  #turn: Promise<void> = Promise.resolve()

  constructor(components: MdnsComponents, deps: StockMdnsDeps) {
    super()
    this.#components = components
    this.#deps = deps
  }

  start(): void {}

  /** After the transports listen: before, there is nothing to announce. */
  async afterStart(): Promise<void> {
    this.#started = true
    await this.follow()
  }

  async stop(): Promise<void> {
    this.#started = false
    await this.follow()
  }

  follow(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#restart())
    return this.#turn
  }

  async #restart(): Promise<void> {
    const running = this.#module as (PeerDiscovery & { stop(): Promise<void> }) | undefined
    this.#module = undefined
    await running?.stop()
    if (!this.#started || !this.#deps.hasIp4()) return
    const module = mdns({ interval: ASK_EVERY_MS })(this.#components)
    module.addEventListener('peer', (event) => this.#heard(event.detail))
    this.#module = module
    await (module as PeerDiscovery & { start(): Promise<void> }).start()
  }

  #heard(info: PeerInfo): void {
    const addresses = info.multiaddrs
      .slice(0, 64)
      .map((address) => address.toString())
      // Without the interface that it came in by, a link-local address is of no use.
      .filter((text) => !isLinkLocal(text) && parseAddress(text) !== undefined)
      .slice(0, 16)
    if (addresses.length === 0) return
    const peer = info.id.toString()
    this.#deps.onHeard(peer, addresses)
    if (!this.#deps.isMember(peer)) return
    const detail: PeerInfo = { id: info.id, multiaddrs: addresses.map((text) => multiaddr(text)) }
    this.safeDispatchEvent('peer', { detail })
  }
}
