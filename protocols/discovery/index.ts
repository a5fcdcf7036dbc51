/** Multicast DNS records by which devices find each other. SPEC.md is the contract. */
export { addressText, lanAddress, parseAddress, parseIp4, parseIp6 } from './addresses.ts'
export type { AddressScope, LanAddress } from './addresses.ts'
export { buildAnnouncement, buildCandidate, buildQuery } from './build.ts'
export { MESH_SERVICE, PAIRING_SERVICE } from './messages.ts'
export type { Announcement, CandidateRecord, Sighting } from './messages.ts'
export { parsePacket } from './parse.ts'
export { DISCOVERY, DISCOVERY_ERRORS, DiscoveryError } from './protocol.ts'
export type { DiscoveryErrorCode } from './protocol.ts'
