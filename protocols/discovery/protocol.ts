import { statusError } from '../errors.ts'

/** SPEC.md "Limits". There is no libp2p protocol here: discovery is multicast DNS. */
export const DISCOVERY = {
  /** Larger packets are not looked at (RFC 6762 section 17). */
  maxPacketBytes: 9000,
  /** What we send fits the smallest IPv6 MTU: 1280 less the IPv6 and UDP headers. */
  maxSentBytes: 1232,
  /** Questions and records of all sections together. */
  maxRecords: 64,
  /** Peers taken from one packet. */
  maxPeers: 8,
  /** Addresses taken from, or announced in, one packet for one peer. */
  maxAddresses: 16,
  /** One TXT string. */
  maxTxtBytes: 255,
  /** Instance name, in bytes: one DNS label. */
  maxInstanceBytes: 63,
  /** Announced lifetime. */
  ttlSeconds: 120,
  /** Longest lifetime believed. */
  maxTtlSeconds: 4500,
  /** Lower ports are never a mesh. */
  minPort: 1024,
} as const

/** SPEC.md "Errors". `status` orders the table; nothing is ever answered to a bad packet. */
export const DISCOVERY_ERRORS = {
  DISCOVERY_TOO_LARGE: { status: 1, message: 'the packet is larger than allowed' },
  DISCOVERY_TOO_MANY_RECORDS: { status: 2, message: 'the packet has more records than allowed' },
  DISCOVERY_MALFORMED: { status: 3, message: 'the packet is not multicast DNS' },
  DISCOVERY_BAD_VALUE: { status: 4, message: 'the value to announce is not allowed' },
} as const

export type DiscoveryErrorCode = keyof typeof DISCOVERY_ERRORS

export class DiscoveryError extends statusError(DISCOVERY_ERRORS) {}

/** Services that listen above 1024 and must never get a handshake because of a forged record. */
export const REFUSED_PORTS: ReadonlySet<number> = new Set([
  1433, 1521, 1883, 2049, 2375, 2376, 3128, 3306, 3389, 4680, 5000, 5060, 5432, 5672, 5900, 6379,
  6443, 8000, 8080, 8123, 8443, 8883, 9000, 9090, 9100, 9200, 11211, 27017,
])
