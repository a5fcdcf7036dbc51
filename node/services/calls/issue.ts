/**
 * The time that calls are issued at. A device whose clock is not set, or is worse than the callee's,
 * learns the callee's from a receipt that says "expired", and goes by that from then on.
 */
import type { ClockState, Receipt } from '../../../protocols/calls/index.ts'
import type { CallsDeps } from './calls.ts'
import { keyed } from './keyed.ts'
import { AHEAD_MS } from './refusal.ts'

export interface Issue {
  /** UTC milliseconds for a call to `device`. */
  nowMs(device: Uint8Array): number
  /** Take the time of a receipt. False where it says nothing better than what is known here. */
  learn(device: Uint8Array, receipt: Receipt): boolean
}

const WORTH: Readonly<Record<ClockState, number>> = { unset: 0, unsynced: 1, synced: 2 }
const MAX_DEVICES = 256

export function createIssue({ clock, time }: Pick<CallsDeps, 'clock' | 'time'>): Issue {
  /** Their wall clock less our monotonic one, and how good theirs was. */
  const learnt = new Map<string, { readonly offsetMs: number; readonly worth: number }>()

  function nowMs(device: Uint8Array): number {
    const found = learnt.size === 0 ? undefined : learnt.get(keyed(device))
    const ownMs = Math.max(0, Math.floor(clock.now()))
    if (found === undefined || found.worth <= WORTH[time.quality()]) return ownMs
    return Math.max(0, Math.floor(clock.monotonic() + found.offsetMs))
  }

  return {
    nowMs,
    learn(device, { atMs, clock: theirs, status }) {
      const worth = WORTH[theirs]
      if (status !== 'expired' || worth <= WORTH[time.quality()]) return false
      if (Math.abs(nowMs(device) - atMs) < AHEAD_MS) return false
      if (learnt.size >= MAX_DEVICES) learnt.clear()
      learnt.set(keyed(device), { offsetMs: atMs - clock.monotonic(), worth })
      return true
    },
  }
}
