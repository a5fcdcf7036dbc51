/** Who was heard of on the links: bounded, least recently heard dropped first, members never. */

export interface Heard {
  /** Ready to dial, newest first; link-local ones with their zone. */
  readonly addresses: readonly string[]
  /** Unknown where libp2p's own module heard it. */
  readonly instance: string | undefined
  /** The link it was last heard on. */
  readonly link: string
}

export interface PeerTable {
  readonly size: number
  get(peer: string): Heard | undefined
  /** Remember, and return what is known now. Addresses of an older instance are forgotten. */
  hear(peer: string, heard: Heard): Heard
  /** These are never dropped. */
  pin(peers: ReadonlySet<string>): void
}

const MAX_PEERS = 256
const MAX_ADDRESSES = 12

export function createPeerTable(): PeerTable {
  const peers = new Map<string, Heard>()
  let pinned: ReadonlySet<string> = new Set()

  function trim(): void {
    for (const peer of peers.keys()) {
      if (peers.size <= MAX_PEERS) return
      if (!pinned.has(peer)) peers.delete(peer)
    }
  }

  return {
    get size() {
      return peers.size
    },
    get: (peer) => peers.get(peer),
    hear(peer, heard) {
      const known = peers.get(peer)
      const instance = heard.instance ?? known?.instance
      const older = known?.instance === instance ? (known?.addresses ?? []) : []
      const addresses = [...new Set([...heard.addresses, ...older])].slice(0, MAX_ADDRESSES)
      const now = { ...heard, instance, addresses }
      peers.delete(peer)
      peers.set(peer, now)
      trim()
      return now
    },
    pin(now) {
      pinned = now
      trim()
    },
  }
}
