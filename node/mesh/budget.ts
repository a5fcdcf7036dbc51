/** A token bucket: at most `burst` at once and `perSecond` on average. */
import type { Clock } from '../env.ts'

export interface Budget {
  /** Take one; false where none is left. */
  take(): boolean
}

export function createBudget(
  clock: Pick<Clock, 'monotonic'>,
  perSecond: number,
  burst: number,
): Budget {
  let left = burst
  let at = clock.monotonic()
  return {
    take() {
      const now = clock.monotonic()
      left = Math.min(burst, left + ((now - at) / 1000) * perSecond)
      at = now
      if (left < 1) return false
      left -= 1
      return true
    },
  }
}
