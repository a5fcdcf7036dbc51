import type { Clock } from '../env.ts'

export interface Budget {
  /** Whether `bytes` more are within the window's; those that are not are not counted. */
  take(bytes: number): boolean
}

/** So many bytes in each window of time. */
export function createBudget(
  { bytes: most, windowMs }: { readonly bytes: number; readonly windowMs: number },
  clock: Pick<Clock, 'monotonic'>,
): Budget {
  let startMs = clock.monotonic()
  let left = most
  return {
    take(bytes) {
      const nowMs = clock.monotonic()
      if (nowMs - startMs >= windowMs) {
        startMs = nowMs
        left = most
      }
      if (bytes > left) return false
      left -= bytes
      return true
    },
  }
}
