/** The real clock and randomness, for the composition root. Everything else takes them as arguments. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Clock, Random } from '../protocols/env.ts'

export type { Clock, Random } from '../protocols/env.ts'

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await sleep(ms, undefined, { signal })
    } catch (error) {
      // The promise API wraps the reason; callers compare reasons.
      signal?.throwIfAborted()
      throw error
    }
  },
  timer(ms, then) {
    const timer = setTimeout(then, ms).unref()
    return () => clearTimeout(timer)
  },
}

export const systemRandom: Random = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
}
