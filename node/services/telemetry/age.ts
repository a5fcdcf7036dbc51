/**
 * The time by which kept readings grow old. A wall clock may leap years ahead, by a dead battery or a
 * lie on the network, and would take everything with it; so a leap ahead counts only once it has stood
 * for a day, and without a time source never further than a day beyond the newest pack and the time
 * since. A leap back makes nothing older and counts at once.
 */
import type { Clock } from '../../env.ts'
import type { PackStore } from '../../storage/packs.ts'
import type { Timekeeper } from '../../timekeeper.ts'

/** Steps up to this are the ordinary correction of a clock. */
const LEAP_MS = 3_600_000
const BELIEVED_AFTER_MS = 86_400_000

export interface AgeDeps {
  readonly clock: Clock
  readonly store: Pick<PackStore, 'newestReceivedMs'>
  readonly time: Pick<Timekeeper, 'quality'>
}

/** Call it from time to time; it returns UTC milliseconds, or -Infinity while nobody knows the time. */
export function ageClock({ clock, store, time }: AgeDeps): () => number {
  const startMs = clock.monotonic()
  const knownMs = store.newestReceivedMs() ?? clock.now()
  const believed = believedClock(clock)
  return () => {
    const nowMs = believed()
    const quality = time.quality()
    if (quality === 'synced') return nowMs
    if (quality === 'unset') return -Infinity
    return Math.min(nowMs, knownMs + BELIEVED_AFTER_MS + clock.monotonic() - startMs)
  }
}

function believedClock(clock: Clock): () => number {
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
