/**
 * The time by which kept readings grow old. A wall clock may leap years ahead, by a dead battery or a
 * lie on the network, and would take everything with it; so a leap ahead counts only once it has stood
 * for a day. A leap back makes nothing older and counts at once.
 */
import type { Clock } from '../../env.ts'

/** Steps up to this are the ordinary correction of a clock. */
const LEAP_MS = 3_600_000
const BELIEVED_AFTER_MS = 86_400_000

/** Call it from time to time; it returns UTC milliseconds. */
export function ageClock(clock: Clock): () => number {
  const offset = (): number => clock.now() - clock.monotonic()
  let believed = offset()
  let aheadSinceMs: number | undefined
  return () => {
    const seen = offset()
    const nowMs = clock.monotonic()
    if (seen > believed + LEAP_MS) aheadSinceMs ??= nowMs
    else aheadSinceMs = undefined
    const waits = aheadSinceMs !== undefined && nowMs - aheadSinceMs < BELIEVED_AFTER_MS
    if (!waits) {
      believed = seen
      aheadSinceMs = undefined
    }
    return believed + nowMs
  }
}
