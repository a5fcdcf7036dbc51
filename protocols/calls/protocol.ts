import { codesByStatus, statusError } from '../errors.ts'
import type { Protocol } from '../wire/index.ts'

/** SPEC.md "Limits". One stream each way is kept open as long as the connection. */
export const CALLS = {
  id: '/kith/call/1.0.0',
  maxFrameBytes: 49_152,
  maxFrames: 1_000_000_000,
  maxInboundStreams: 2,
  maxOutboundStreams: 2,
  messageDeadlineMs: 30_000,
} as const satisfies Protocol

/** SPEC.md "Bounds". What one call, one receipt and one stream may hold. */
export const BOUNDS = {
  /** A whole call, signature included, in bytes. */
  maxCallBytes: 10_240,
  /** A whole receipt, signature included, in bytes. */
  maxReceiptBytes: 34_816,
  /** Arguments of a call, as JSON text, in bytes. */
  maxArgsBytes: 8_192,
  /** Result of a call, or a value that is observed, as JSON text, in bytes. */
  maxResultBytes: 32_768,
  /** Arrays and objects inside each other, in JSON. */
  maxJsonDepth: 16,
  /** Values of every kind in one JSON text. */
  maxJsonValues: 1_000,
  /** Words of a receipt for people, in bytes. */
  maxDetailBytes: 200,
  /** A call is executed at most this long after it was issued: 30 days. */
  maxTtlMs: 2_592_000_000,
  minTtlMs: 1_000,
  /** A description as JSON text, in bytes. */
  maxDescriptionBytes: 65_536,
  /** A piece of a description, in bytes. */
  maxChunkBytes: 16_384,
  /** Requests that one stream may have open. */
  maxOpen: 32,
  /** Rows that one question about the past gives. */
  maxRows: 1_000,
  /** Bytes of requests that a callee takes from one stream in a second, once the burst is used. */
  maxBytesPerSecond: 262_144,
  /** Bytes of requests that a callee takes from one stream at once. */
  maxBurstBytes: 1_048_576,
  /** What the smallest request counts as, in bytes. */
  minRequestBytes: 256,
  /** Observed values that wait on the caller's side for whoever asked. */
  maxWaiting: 64,
} as const

/** SPEC.md "Errors". `status` is all that crosses the wire. */
export const CALLS_ERRORS = {
  CALLS_FORBIDDEN: { status: 1, message: 'the device that asks has no right to this' },
  CALLS_UNKNOWN: { status: 2, message: 'the device has nothing of this name' },
  CALLS_BUSY: { status: 3, message: 'too much is waiting already' },
  CALLS_FAILED: { status: 4, message: 'the device could not answer' },
  CALLS_BAD_CALL: { status: 5, message: 'the call breaks a rule of its format' },
  CALLS_BAD_RECEIPT: { status: 6, message: 'the receipt breaks a rule of its format' },
  CALLS_WRONG_RECEIPT: { status: 7, message: 'the receipt is not for this call by this device' },
  CALLS_BAD_JSON: { status: 8, message: 'not JSON within the bounds' },
  CALLS_BAD_REQUEST: { status: 9, message: 'the request breaks a rule of the stream' },
  CALLS_TOO_MANY_OPEN: { status: 10, message: 'more open requests than one stream may have' },
  CALLS_UNASKED: { status: 11, message: 'the device sent what was not asked for' },
  CALLS_TOO_SLOW: { status: 12, message: 'observed values were not taken in time' },
} as const

export type CallsErrorCode = keyof typeof CALLS_ERRORS

export class CallsError extends statusError(CALLS_ERRORS) {}

/** The code behind a status number that a peer sent; undefined for one that is not in the table. */
export const callsCode = codesByStatus(CALLS_ERRORS)
