import { statusError } from '../errors.ts'
import type { Protocol } from '../wire/index.ts'

/** SPEC.md "Limits". A stream lasts as long as the connection; reports are few. */
export const INCIDENTS = {
  id: '/kith/incidents/1.0.0',
  maxFrameBytes: 4_352,
  maxFrames: 100_000,
  maxInboundStreams: 2,
  maxOutboundStreams: 2,
  messageDeadlineMs: 30_000,
} as const satisfies Protocol

/** SPEC.md "Bounds". */
export const BOUNDS = {
  /** A whole report, signature included, in bytes. */
  maxReportBytes: 4_096,
  /** Places in the program that one report names. */
  maxPlaces: 8,
  /** Reports of one device that are kept. */
  maxKept: 256,
} as const

/** SPEC.md "Errors". Only INCIDENTS_FORBIDDEN crosses the wire. */
export const INCIDENTS_ERRORS = {
  INCIDENTS_FORBIDDEN: { status: 1, message: 'reports are for owners' },
  INCIDENTS_BAD_REPORT: { status: 2, message: 'the report breaks a rule of its format' },
  INCIDENTS_WRONG_DEVICE: { status: 3, message: 'the report is not by the device that gave it' },
  INCIDENTS_BROKEN_CHAIN: { status: 4, message: 'the report does not follow the one before it' },
} as const

export type IncidentsErrorCode = keyof typeof INCIDENTS_ERRORS

export class IncidentsError extends statusError(INCIDENTS_ERRORS) {}
