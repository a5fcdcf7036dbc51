import { statusError } from '../errors.ts'
import type { Protocol } from '../wire/index.ts'

/** SPEC.md "Limits". The frames leave room for the ops that one side may lack. */
export const HELLO = {
  id: '/kith/hello/1.0.0',
  maxFrameBytes: 65_536,
  maxFrames: 1_024,
  maxInboundStreams: 1,
  maxOutboundStreams: 1,
  messageDeadlineMs: 5_000,
} as const satisfies Protocol

/** SPEC.md "Errors". The peer sees a closed connection and no reason. */
export const HELLO_ERRORS = {
  HELLO_WRONG_HOME: { status: 1, message: 'the other device belongs to another home' },
  HELLO_NOT_A_MEMBER: { status: 2, message: 'the other device is not a member of this home' },
} as const

export type HelloErrorCode = keyof typeof HELLO_ERRORS

/** The greeting failed: nothing else may run on this connection. */
export class HelloError extends statusError(HELLO_ERRORS) {}
