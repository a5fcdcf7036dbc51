/**
 * Grants and the tree that they form. A seat is a place in that tree: a successor takes over its
 * predecessor's seat, and an owner made by the recovery key sits beside the founder.
 */
import type { Authority } from './roles.ts'

export interface Grant {
  /** Position, in its set, of the op that gives it; 0 is genesis. */
  readonly index: number
  /** Id of that op. */
  readonly id: Uint8Array
  readonly subject: Uint8Array
  /** `subject` in hexadecimal. */
  readonly holder: string
  readonly role: Authority
  /** Seats from the founder's to this one, both included: at most 9. */
  readonly line: readonly number[]
  /** How many successors lie between this grant and the one that founded the seat. */
  readonly successions: number
  /** The grant under which this one was given; undefined for those of genesis. */
  readonly under: Grant | undefined
}

/** Grants between genesis and this one. */
export function depthOf(grant: Grant): number {
  return grant.line.length - 1
}

function seatOf(grant: Grant): number {
  return grant.line.at(-1) ?? 0
}

/** Whether `grant` was given, through however many hands, from the seat of `above`. */
export function isBelow(grant: Grant, above: Grant): boolean {
  const seat = seatOf(above)
  return seatOf(grant) !== seat && grant.line.includes(seat)
}

/**
 * Rule 3: whether who acts under `under` may revoke `target`. Strictly down the tree among owners,
 * so it has no cycles. A device's retirement is no revocation and is judged elsewhere.
 */
export function mayRevoke(under: Grant, target: Grant): boolean {
  if (target.role === 'recovery') return false
  if (under.role === 'recovery') return true
  return under.role === 'owner' && (target.role !== 'owner' || isBelow(target, under))
}
