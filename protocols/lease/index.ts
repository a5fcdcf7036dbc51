/** One sender at a time among the gateways of a home. SPEC.md is the contract. */
export { hearLeases } from './hearer.ts'
export { Leases } from './leases.ts'
export { Word } from './messages.ts'
export type { Done, Stand } from './messages.ts'
export { BOUNDS, LEASE, LEASE_ERRORS, LeaseError } from './protocol.ts'
export { speakLeases } from './speaker.ts'
