import { statusError } from '../errors.ts'
import type { Protocol } from '../wire/index.ts'

/** SPEC.md "Limits". */
export const MEMBERS = {
  id: '/kith/members/1.0.0',
  maxFrameBytes: 65_536,
  maxFrames: 512,
  maxInboundStreams: 1,
  maxOutboundStreams: 1,
  messageDeadlineMs: 10_000,
} as const satisfies Protocol

/** What one home may hold, SPEC.md "Caps of a home". Part of the contract: all devices agree. */
export const CAPS = {
  /** Longest op: the whole envelope, in bytes. */
  maxOpBytes: 4096,
  /** Parents of one op, and entries of one cut. */
  maxParents: 16,
  /** Ops of one home, those of the recovery key not counted. */
  maxOps: 5000,
  /** Ops of one key, so that no single stolen key can fill the home. */
  maxOpsPerKey: 2000,
  /** Retirements under one grant that is not an owner's: the one that counts, and proof of more. */
  maxRetirements: 4,
  /** Ops of the recovery key, which find room in a full home. */
  maxRecoveryOps: 64,
  /** Ops that wait for parents; the oldest makes room. */
  maxWaiting: 256,
  /** Grants between genesis and a device. */
  maxDepth: 8,
  /** Successors of one grant, one after the other. */
  maxSuccessors: 32,
  /** Telling a peer what we have: heads and samples of what lies before them. */
  maxHave: 256,
  /** Longest exchange with one peer, whatever it sends. */
  maxSessionMs: 60_000,
  /** Bad ops of one peer in one exchange, after which it is cut off. */
  maxRefused: 64,
} as const

/** SPEC.md "Errors". */
export const MEMBERS_ERRORS = {
  MEMBERS_BAD_OP: { status: 1, message: 'not a well-formed membership op of this home' },
  MEMBERS_BAD_SIGNATURE: { status: 2, message: 'the signature of the op does not match' },
  MEMBERS_WRONG_HOME: { status: 3, message: 'the op or the peer is of another home' },
  MEMBERS_NOT_PERMITTED: { status: 4, message: 'the signer may not do that' },
  MEMBERS_UNKNOWN_DEVICE: { status: 5, message: 'no such device in this home' },
  MEMBERS_ALREADY_MEMBER: { status: 6, message: 'the device is in this home already' },
  MEMBERS_FULL: { status: 7, message: 'the home holds as many ops as it may' },
  MEMBERS_TOO_DEEP: { status: 8, message: 'the chain of grants is too long' },
  MEMBERS_NO_EFFECT: { status: 9, message: 'the act would change nothing' },
  MEMBERS_PEER_FAULT: { status: 10, message: 'the peer sent too much that is wrong' },
  MEMBERS_TOO_SLOW: { status: 11, message: 'the exchange took too long' },
  MEMBERS_KIT_MISTYPED: { status: 12, message: 'the recovery kit is mistyped' },
  MEMBERS_REMOVED_KEY: { status: 13, message: 'an act of a device that was removed' },
} as const

export type MembersErrorCode = keyof typeof MEMBERS_ERRORS

/** What a membership op means, or claims, is refused. */
export class MembersError extends statusError(MEMBERS_ERRORS) {
  /** MEMBERS_KIT_MISTYPED only: the group, 1..8, that is wrong where that is known. */
  readonly group: number | undefined

  constructor(
    code: MembersErrorCode,
    detail?: string,
    options?: ErrorOptions & { group?: number },
  ) {
    super(code, detail, options)
    this.group = options?.group
  }
}
