/**
 * The addresses that a record may carry: one IPv6 or IPv4 host and a TCP port, as multiaddr text
 * (`/ip6/fe80::1/tcp/4646`). Everything else that libp2p can write (zones, DNS names, QUIC, relays)
 * is foreign here and yields undefined. Text is canonical (RFC 5952), so equal addresses are equal
 * strings.
 */
import { DISCOVERY, REFUSED_PORTS } from './protocol.ts'

export type AddressScope = 'link-local' | 'private' | 'global'

export interface LanAddress {
  readonly family: 4 | 6
  /** Canonical text without zone. */
  readonly host: string
  readonly port: number
  readonly scope: AddressScope
}

const MULTIADDR = /^\/ip([46])\/([0-9a-fA-F:.]{2,45})\/tcp\/([1-9][0-9]{0,4})$/

/** `text` as an address that may be dialled because of a record, or undefined. */
export function parseAddress(text: string): LanAddress | undefined {
  const match = MULTIADDR.exec(text)
  if (match === null) return undefined
  const [, family, host = '', digits] = match
  return lanAddress(family === '6' ? parseIp6(host) : parseIp4(host), Number(digits))
}

/** The address of `ip` (4 or 16 bytes) and `port`, where both may be dialled. */
export function lanAddress(ip: Uint8Array | undefined, port: number): LanAddress | undefined {
  if (ip === undefined || !isMeshPort(port)) return undefined
  const scope = ip.length === 16 ? scopeOf6(ip) : scopeOf4(ip)
  if (scope === undefined) return undefined
  return ip.length === 16
    ? { family: 6, host: formatIp6(ip), port, scope }
    : { family: 4, host: ip.join('.'), port, scope }
}

/** `/ip6/<host>/tcp/<port>`, without zone and without peer id. */
export function addressText(address: LanAddress): string {
  return `/ip${address.family}/${address.host}/tcp/${address.port}`
}

export function isMeshPort(port: number): boolean {
  return (
    Number.isInteger(port) &&
    port >= DISCOVERY.minPort &&
    port <= 65_535 &&
    !REFUSED_PORTS.has(port)
  )
}

/**
 * Drops ::/8 (unspecified, loopback, IPv4-mapped and -compatible, NAT64) and multicast. Any other
 * prefix may be somebody's LAN.
 */
function scopeOf6(ip: Uint8Array): AddressScope | undefined {
  const [first = 0, second = 0] = ip
  if (first === 0 || first === 0xff) return undefined
  if (first === 0xfe && (second & 0xc0) === 0x80) return 'link-local'
  return (first & 0xfe) === 0xfc ? 'private' : 'global'
}

/** Drops "this network", loopback, multicast and reserved blocks (RFC 6890). */
function scopeOf4(ip: Uint8Array): AddressScope | undefined {
  const [first = 0, second = 0] = ip
  if (first === 0 || first === 127 || first >= 224) return undefined
  if (first === 169 && second === 254) return 'link-local'
  return isPrivate4(first, second) ? 'private' : 'global'
}

/** RFC 1918 and the shared space of RFC 6598. */
function isPrivate4(first: number, second: number): boolean {
  return (
    first === 10 ||
    (first === 172 && second >= 16 && second <= 31) ||
    (first === 192 && second === 168) ||
    (first === 100 && second >= 64 && second <= 127)
  )
}

/** Four bytes of dotted decimal without leading zeros. */
export function parseIp4(text: string): Uint8Array | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part))) {
    return undefined
  }
  const numbers = parts.map(Number)
  return numbers.every((n) => n <= 255) ? Uint8Array.from(numbers) : undefined
}

/** Sixteen bytes of RFC 4291 text. No zone; the dotted tail is refused with the mapped range. */
export function parseIp6(text: string): Uint8Array | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map((half) => (half === '' ? [] : half.split(':')))
  const groups = [...(head ?? []), ...(tail ?? [])]
  if (!groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined
  const missing = 8 - groups.length
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined
  const all = [...(head ?? []), ...Array<string>(missing).fill('0'), ...(tail ?? [])]
  return Uint8Array.from(
    all.flatMap((group) => {
      const value = Number.parseInt(group, 16)
      return [value >> 8, value & 0xff]
    }),
  )
}

/** RFC 5952: lower case, the longest run of two or more zero groups shortened, the first of equals. */
export function formatIp6(ip: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((ip[2 * i] ?? 0) << 8) | (ip[2 * i + 1] ?? 0))
  let best = { at: 0, length: 1 }
  for (let at = 0; at < 8; at++) {
    let length = 0
    while (at + length < 8 && groups[at + length] === 0) length++
    if (length > best.length) best = { at, length }
  }
  const hex = groups.map((group) => group.toString(16))
  if (best.length === 1) return hex.join(':')
  return `${hex.slice(0, best.at).join(':')}::${hex.slice(best.at + best.length).join(':')}`
}
