/** The most that may leave in a second. */
import type { Clock } from '../../env.ts'

export interface Pace {
  /** Resolves when `bytes` may leave. @throws the signal's reason */
  wait(bytes: number, signal: AbortSignal): Promise<void>
}

/** How often it is asked whether anything may leave again. */
const STILL_MS = 10_000

/** `limit` gives bytes in a second, asked anew each time; undefined for as many as can, 0 for none. */
export function createPace(clock: Clock, limit: () => number | undefined): Pace {
  let freeMs = 0
  return {
    async wait(bytes, signal) {
      let perSecond = limit()
      for (; perSecond === 0; perSecond = limit()) await clock.sleep(STILL_MS, signal)
      if (perSecond === undefined) return
      const nowMs = clock.monotonic()
      const waitMs = freeMs - nowMs
      freeMs = Math.max(freeMs, nowMs) + (1000 * bytes) / Math.max(1, perSecond)
      if (waitMs > 0) await clock.sleep(waitMs, signal)
    },
  }
}
