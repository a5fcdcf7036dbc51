/** The values that discovery's packets carry, and the names that they go by. */
import { DISCOVERY, DiscoveryError } from './protocol.ts'

/** libp2p's mDNS service (libp2p specs, discovery/mdns). */
export const MESH_SERVICE = '_p2p._udp.local'

/** DNS-SD service of a device in its pairing window (RFC 6763). */
export const PAIRING_SERVICE = '_kith-pair._tcp.local'

/** The TXT string by which Kith devices know each other among libp2p nodes. Proves nothing. */
export const KITH_MARKER = 'kith=1'

/** Version of the candidate's TXT record. */
export const CANDIDATE_VERSION = '1'

/** A libp2p node on this link. Nothing in it is proved: Noise proves the key when it is dialled. */
export interface Announcement {
  /** One random DNS label per process: a new one tells that the device restarted. */
  readonly instance: string
  /** Ed25519 public key, 32 bytes. */
  readonly key: Uint8Array
  /** `/ip6/…/tcp/…` or `/ip4/…/tcp/…`, canonical, without zone or peer id. */
  readonly addresses: readonly string[]
  /** Seconds; 0 says goodbye. */
  readonly ttlSeconds: number
  /** It says that it is a Kith device. */
  readonly kith: boolean
}

/** A device that waits to be paired. */
export interface CandidateRecord {
  readonly instance: string
  readonly key: Uint8Array
  /** The two digits in front of its code. */
  readonly discriminator: string
  readonly addresses: readonly string[]
  readonly ttlSeconds: number
}

/** What one packet asked for or told. */
export interface Sighting {
  readonly asksMesh: boolean
  readonly asksCandidates: boolean
  readonly peers: readonly Announcement[]
  readonly candidates: readonly CandidateRecord[]
}

/** @throws DiscoveryError DISCOVERY_BAD_VALUE where `instance` is not one plain DNS label */
export function requireInstance(instance: string): void {
  if (!/^[a-z0-9-]+$/.test(instance) || instance.length > DISCOVERY.maxInstanceBytes) {
    throw new DiscoveryError('DISCOVERY_BAD_VALUE', 'instance')
  }
}

/** Two decimal digits. */
export function isDiscriminator(text: string): boolean {
  return /^[0-9]{2}$/.test(text)
}
