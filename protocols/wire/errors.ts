import { wordedError } from '../errors.ts'

/** SPEC.md "Errors". */
export const WIRE_ERRORS = {
  WIRE_FRAME_TOO_LARGE: 'frame is larger than the protocol allows',
  WIRE_TOO_MANY_FRAMES: 'more frames than the protocol allows',
  WIRE_MALFORMED: 'not deterministic CBOR of the expected shape',
  WIRE_CLOSED: 'stream closed before the protocol was done',
  WIRE_TOO_SLOW: 'the peer took longer than the protocol allows',
} as const

export type WireErrorCode = keyof typeof WIRE_ERRORS

/** The bytes broke the rules, before any protocol looked at their meaning. */
export class WireError extends wordedError(WIRE_ERRORS) {}
