/**
 * Multiaddr text and zones. A link-local address means something only together with the interface
 * that it is on, so ours carry a zone (`/ip6zone/eth0/ip6/fe80::1/tcp/4646`), and no zone ever
 * crosses the wire in either direction.
 */
import { getNetConfig } from '@libp2p/utils'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'

import { addressText, lanAddress, parseAddress, parseIp6 } from '../../protocols/discovery/index.ts'
import type { Link } from './links.ts'

const ORDER = { 'link-local': 0, private: 1, global: 2 } as const

/** Our IPv6 addresses on `link`, as announced there: link-local first, then private, then global. */
export function addressesOn(link: Link, port: number): string[] {
  return link.ip6
    .flatMap((host) => lanAddress(parseIp6(host), port) ?? [])
    .toSorted((a, b) => ORDER[a.scope] - ORDER[b.scope])
    .map(addressText)
}

/** `address` from a record that came in by `link`, ready to dial. */
export function withZone(address: string, link: string): string {
  return isLinkLocal(address) ? `/ip6zone/${link}${address}` : address
}

/** An address that another device may hear of from libp2p's identify. */
export function mayCrossWire(address: Multiaddr): boolean {
  const config = getNetConfig(address)
  if (config.type === 'ip6' && config.zone !== undefined) return false
  const text = `/${config.type}/${config.host}/tcp/${config.port ?? 0}`
  return !isLinkLocal(text) && parseAddress(text) !== undefined
}

export function isLinkLocal(address: string): boolean {
  const host = /^\/ip6\/(fe[89ab][0-9a-f]):/i.exec(address)
  return host !== null
}

/** The host part, without zone, port and peer id: two connections of one device share it. */
export function hostOf(address: Multiaddr | string): string {
  return getNetConfig(typeof address === 'string' ? multiaddr(address) : address).host
}

/** The zone of a multiaddr, if it has one. */
export function zoneOf(address: Multiaddr): string | undefined {
  const config = getNetConfig(address)
  return config.type === 'ip6' ? config.zone : undefined
}

/** The multiaddr of a connection's far end, without the peer id that libp2p adds. */
export function withoutPeer(address: Multiaddr): string {
  return address.toString().replace(/\/p2p\/[^/]+$/, '')
}
