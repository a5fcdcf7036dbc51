import { codesByStatus, statusError } from '../errors.ts'
import type { Protocol } from '../wire/index.ts'

/** SPEC.md "Limits". A stream lasts as long as the connection, so its frames are all but unbounded. */
export const TELEMETRY = {
  id: '/kith/telemetry/1.0.0',
  maxFrameBytes: 66_048,
  maxFrames: 1_000_000_000,
  maxInboundStreams: 2,
  maxOutboundStreams: 2,
  messageDeadlineMs: 30_000,
} as const satisfies Protocol

/** SPEC.md "Bounds". What one pack, one log and one stream may hold. */
export const BOUNDS = {
  /** Readings in one pack. */
  maxReadings: 512,
  /** A whole pack, signature included, in bytes. */
  maxPackBytes: 32_768,
  /** A reading waits no longer than this for its pack. */
  maxPackAgeMs: 10_000,
  /** How far a pack's sequence number may lie beyond the newest one known. */
  maxSeqJump: 16_777_216,
  /** Separate runs of packs that a receiver keeps account of in one log. */
  maxSegments: 256,
  /** Entries that a reader may have open on one stream. */
  maxEntries: 256,
  /** How far back a guest may ask: packs below the newest one. */
  maxExtractPacks: 8_640,
  /** How far ahead of the receiver's clock a reading may be. */
  maxAheadMs: 300_000,
  /** How far behind the receiver's clock a reading may be: 400 days. */
  maxBehindMs: 34_560_000_000,
} as const

/** Bits of a stored pack's flags. SPEC.md "Flags". */
export const FLAGS = {
  /** Its times cannot be right by the receiver's clock; the receiver's time counts instead. */
  clockImplausible: 1,
  /** The device itself does not trust its clock. */
  clockUnsynced: 2,
  /** Came after packs with higher numbers. */
  late: 4,
  /** Came after proof of two histories. */
  quarantined: 8,
  /** When its readings were taken is not known yet: the device's clock was not set. */
  unplaced: 16,
  /** When its readings were taken was worked out from another pack of the same boot. */
  placed: 32,
} as const

/** SPEC.md "Errors". `status` is all that crosses the wire. */
export const TELEMETRY_ERRORS = {
  TELEMETRY_FORBIDDEN: { status: 1, message: 'this log is not for the device that asks' },
  TELEMETRY_TOO_MANY_LOGS: { status: 2, message: 'more logs than one stream may follow' },
  TELEMETRY_BAD_PACK: { status: 3, message: 'the pack breaks a rule of its format' },
  TELEMETRY_WRONG_HOME: { status: 4, message: 'the pack belongs to another home' },
  TELEMETRY_WRONG_DEVICE: { status: 5, message: 'the pack is not by the device it is said to be' },
  TELEMETRY_SEQ_JUMP: { status: 6, message: 'the sequence number is too far ahead' },
  TELEMETRY_AFTER_REMOVAL: { status: 7, message: 'made after the device was removed' },
  TELEMETRY_NOT_A_PUBLISHER: { status: 8, message: 'the device may not publish in this home' },
  TELEMETRY_UNASKED: { status: 9, message: 'the holder sent what was not asked for' },
  TELEMETRY_BAD_READING: { status: 10, message: 'a reading that no pack can carry' },
  TELEMETRY_BAD_EXPORT: { status: 11, message: 'no export, or a damaged one' },
  TELEMETRY_NO_PROOF: { status: 12, message: 'two packs that do not contradict each other' },
} as const

export type TelemetryErrorCode = keyof typeof TELEMETRY_ERRORS

export class TelemetryError extends statusError(TELEMETRY_ERRORS) {}

/** The code behind a status number that a peer sent; undefined for one that is not in the table. */
export const telemetryCode = codesByStatus(TELEMETRY_ERRORS)
