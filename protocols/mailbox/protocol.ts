import { statusError } from '../errors.ts'
import type { Protocol } from '../wire/index.ts'

/** SPEC.md "Limits". One stream carries one put, one piece of news, or one wake. */
export const MAILBOX = {
  id: '/kith/mailbox/1.0.0',
  maxFrameBytes: 131_072,
  maxFrames: 1_024,
  maxInboundStreams: 8,
  maxOutboundStreams: 8,
  messageDeadlineMs: 30_000,
} as const satisfies Protocol

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

/** SPEC.md "Bounds". */
export const BOUNDS = {
  /** A signed call and a signed receipt, whole, in bytes. */
  maxCallBytes: 10_240,
  maxReceiptBytes: 34_816,
  maxScheduleBytes: 640,
  /** Documents in one frame, and their bytes together but for the last one. */
  maxDocuments: 64,
  batchBytes: 65_536,
  /** Calls of one caller that wait for one device, and their bytes. */
  maxPerPair: 64,
  maxPairBytes: 524_288,
  /** Calls of one caller that wait for all devices, and their bytes. */
  maxPerCaller: 256,
  maxCallerBytes: 1_048_576,
  /** Everything that is held for others, in bytes. */
  maxBytes: 16_777_216,
  /** Receipts kept of one device. */
  maxReceipts: 256,
  /** Schedules kept. */
  maxSchedules: 1_024,
  maxParents: 4,
  /** Members that hold a call before it counts as held. */
  holders: 2,
  maxTtlMs: 30 * DAY_MS,
  minPeriodMs: 1_000,
  maxPeriodMs: 7 * DAY_MS,
  maxWindowMs: 10 * MINUTE_MS,
  maxSlackMs: DAY_MS,
  /** Nothing older is told. */
  maxAgeMs: 366 * DAY_MS,
  /** A holder answers the last frame of a wake after this, also where it misses packs. */
  logWaitMs: 1_500,
} as const

/** SPEC.md "Errors". Each crosses the wire as its number. */
export const MAILBOX_ERRORS = {
  MAILBOX_FORBIDDEN: { status: 1, message: 'this device may not leave that here' },
  MAILBOX_BUSY: { status: 2, message: 'too much is waiting already' },
  MAILBOX_BAD_DOCUMENT: { status: 3, message: 'a call, receipt or schedule breaks a rule' },
  MAILBOX_SUPERSEDED: { status: 4, message: 'a later call took its place' },
  MAILBOX_ENDED: { status: 5, message: 'its time is over' },
} as const

export type MailboxErrorCode = keyof typeof MAILBOX_ERRORS

export class MailboxError extends statusError(MAILBOX_ERRORS) {}
