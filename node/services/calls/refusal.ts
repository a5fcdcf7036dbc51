/** Why a call is not executed, and whether its time is right. */
import type { Call, ClockState, Status } from '../../../protocols/calls/index.ts'

export interface Refusal {
  readonly status: Exclude<Status, 'done'>
  /** A sentence for people, of at most 200 bytes. */
  readonly detail: string
}

export interface Moment {
  /** The clock here, UTC milliseconds. */
  readonly nowMs: number
  readonly clock: ClockState
  /** Calls that were due before this may have been executed and forgotten. */
  readonly horizonMs: number
  /** The caller is at the other end of the connection. */
  readonly direct: boolean
}

/** Clocks of caller and callee may differ by this. */
export const AHEAD_MS = 120_000

/** Where the clock here is not set, the connection is what shows that a call is fresh. */
export function untimely(
  { issuedMs, ttlMs }: Pick<Call, 'issuedMs' | 'ttlMs'>,
  { clock, direct, horizonMs, nowMs }: Moment,
): Refusal | undefined {
  const dueMs = issuedMs + ttlMs
  if (dueMs <= horizonMs) return expired('It is older than what is remembered here.')
  if (clock === 'unset') {
    if (direct) return undefined
    return { status: 'refused', detail: 'The clock here is not set, so its age is not known.' }
  }
  if (issuedMs > nowMs + AHEAD_MS) {
    return expired('By the clock here it was issued in the future: compare the clocks.')
  }
  if (nowMs > dueMs) return expired('By the clock here its time is over.')
  return undefined
}

function expired(detail: string): Refusal {
  return { status: 'expired', detail }
}
