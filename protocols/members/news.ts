/**
 * How old a device's view of its home may be: when an owner's device says anew that the home is as it
 * is, and when a device has gone without an owner's word for too long. SPEC.md "Checkpoints and news".
 */
import { compareBytes, equalBytes } from '../wire/index.ts'
import type { OpSet } from './op-set.ts'
import type { Checkpoint, Device, HomeState } from './state.ts'

const DAY_MS = 86_400_000

export const NEWS = {
  /** Between two checkpoints, where something changed after the first. */
  everyMs: 7 * DAY_MS,
  /** And where nothing did. */
  unchangedMs: 21 * DAY_MS,
  /** Without an owner's word for so long, a device's view may be old. */
  staleMs: 30 * DAY_MS,
  /** Times that are further ahead than this do not count. */
  aheadMs: 10 * 60_000,
} as const

/** Whether it is time for the next checkpoint, by a clock that is set. */
export function isCheckpointDue(ops: OpSet, state: HomeState, nowMs: number): boolean {
  const last = lastCheckpoint(ops, state, nowMs)
  const sinceMs = nowMs - (last?.timeMs ?? ops.entries[0]?.op.payload.ts ?? nowMs)
  if (sinceMs < NEWS.everyMs) return false
  const changed = last === undefined || !equalBytes(last.stateHash, state.hash)
  return changed || sinceMs >= NEWS.unchangedMs
}

/** Of those whose clocks are not far ahead; a lie about the time must not silence all others. */
function lastCheckpoint(
  { entries }: OpSet,
  state: HomeState,
  nowMs: number,
): Pick<Checkpoint, 'timeMs' | 'stateHash'> | undefined {
  let last: Pick<Checkpoint, 'timeMs' | 'stateHash'> | undefined
  for (const { op } of entries) {
    const { payload } = op
    if (payload.type !== 'checkpoint' || !state.isEffective(op.hex)) continue
    const { timeMs } = payload.body
    if (timeMs <= nowMs + NEWS.aheadMs && timeMs >= (last?.timeMs ?? 0)) last = payload.body
  }
  return last
}

/** Who of these owners makes it: the one nearest to genesis, then the one with the lowest key. */
export function mostSenior(devices: readonly Device[]): Device | undefined {
  return devices
    .filter(({ role }) => role === 'owner')
    .toSorted((a, b) => a.depth - b.depth || compareBytes(a.key, b.key))[0]
}

/** When an owner or the recovery kit signed last, as far as this set knows; UTC milliseconds. */
export function newestWordMs({ entries }: OpSet, state: HomeState, nowMs: number): number {
  let newest = 0
  for (const { op } of entries) {
    const { payload } = op
    if (payload.type === 'retire' || !state.isEffective(op.hex)) continue
    const said = payload.type === 'checkpoint' ? payload.body.timeMs : payload.ts
    if (said <= nowMs + NEWS.aheadMs) newest = Math.max(newest, said)
  }
  return newest
}
