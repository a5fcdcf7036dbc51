/** What is known of other devices before they are connected, and what we say of ourselves. */
import { buildAnnouncement, type Sighting } from '../../protocols/discovery/index.ts'
import { peerIdOf } from '../../protocols/identity/index.ts'
import { addressesOn, withZone } from './addresses.ts'
import type { DialerEvent } from './dialer-state.ts'
import type { Link } from './links.ts'
import { createPeerTable, type Heard } from './peer-table.ts'

export interface NeighboursDeps {
  /** Our public key and the random name of this process. */
  readonly key: Uint8Array
  readonly instance: string
  /** Multiaddrs from the configuration, each ending in `/p2p/<id>`. */
  readonly directPeers: readonly string[]
  readonly port: () => number
  readonly tell: (event: DialerEvent) => void
  readonly onMemberSeen: (peer: string, addresses: readonly string[]) => void
}

export interface Neighbours {
  setMembers(members: ReadonlySet<string>): void
  /** The packets that announce us on `link`. */
  announcement(link: Link, ttlSeconds: number): readonly Uint8Array[]
  /** Cheap enough for a flood: the packet holds some member's peer id as text. */
  mentionsMember(packet: Uint8Array): boolean
  sighted(sighting: Sighting, link: string): void
  heard(peer: string, heard: Heard): void
  /** Tell the dialer what is known of a new member from before it was one. */
  introduce(peer: string, reached: readonly string[]): void
}

export function createNeighbours(deps: NeighboursDeps): Neighbours {
  const self = peerIdOf(deps.key)
  const table = createPeerTable()
  let members: ReadonlySet<string> = new Set()
  let names: readonly Buffer[] = []

  function heard(peer: string, news: Heard): void {
    if (peer === self) return
    const { addresses, instance } = table.hear(peer, news)
    if (!members.has(peer)) return
    deps.tell({ type: 'seen', peer, addresses, instance, link: news.link })
    deps.onMemberSeen(peer, addresses)
  }

  return {
    setMembers(now) {
      members = now
      names = [...now].map((peer) => Buffer.from(peer))
      table.pin(now)
    },
    announcement(link, ttlSeconds) {
      const { key, instance } = deps
      const addresses = addressesOn(link, deps.port())
      return buildAnnouncement({ instance, key, addresses, ttlSeconds })
    },
    mentionsMember(packet) {
      const bytes = Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength)
      return names.some((name) => bytes.includes(name))
    },
    sighted({ peers }, link) {
      for (const { key, instance, addresses, ttlSeconds } of peers) {
        // A goodbye may be forged; a connection that ends says the same and is not.
        if (ttlSeconds === 0 || addresses.length === 0) continue
        const zoned = addresses.map((address) => withZone(address, link))
        heard(peerIdOf(key), { addresses: zoned, instance, link })
      }
    },
    heard,
    introduce(peer, reached) {
      const suffix = `/p2p/${peer}`
      const direct = deps.directPeers
        .filter((address) => address.endsWith(suffix))
        .map((address) => address.slice(0, -suffix.length))
      deps.tell({ type: 'known', peer, kind: 'direct', addresses: direct })
      deps.tell({ type: 'known', peer, kind: 'proven', addresses: reached })
      const known = table.get(peer)
      if (known !== undefined) deps.tell({ type: 'seen', peer, ...known })
    },
  }
}
