import { statusError } from '../errors.ts'
import type { Protocol } from '../wire/index.ts'

/** SPEC.md "Limits". A stream lasts as long as the connection, so its frames are all but unbounded. */
export const LEASE = {
  id: '/kith/lease/1.0.0',
  maxFrameBytes: 32_768,
  maxFrames: 1_000_000_000,
  maxInboundStreams: 2,
  maxOutboundStreams: 2,
  messageDeadlineMs: 10_000,
} as const satisfies Protocol

/** SPEC.md "Bounds". */
export const BOUNDS = {
  /** Everything is said again after so long. */
  beatMs: 1_000,
  /** Who was silent for so long is not there. */
  silentMs: 4_000,
  /** A claim that nobody contradicts for so long holds. */
  claimMs: 2_000,
  /** Leases that one gateway takes part in. */
  maxLeases: 32,
  maxNameBytes: 64,
  /** Devices in one frame. */
  maxRows: 512,
  maxTerm: 2 ** 40,
} as const

/** SPEC.md "Errors". None crosses the wire: the peer sees the stream reset. */
export const LEASE_ERRORS = {
  LEASE_FORBIDDEN: { status: 1, message: 'leases are for gateways' },
  LEASE_BAD_WORD: { status: 2, message: 'the frame breaks a rule of its format' },
} as const

export class LeaseError extends statusError(LEASE_ERRORS) {}
